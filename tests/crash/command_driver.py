"""Runs hubsync commands in forked children and kills them when told to.

Its own process, because a fork must not meet other threads.  Reads one JSON
object a line, ``{"argv": [...], "after_s": ...}``; answers "killed" or the
child's status.
"""

import importlib
import json
import os
import select
import signal
import sys

from hubsync.cli.main import run

# Imported once here, so that a round is all work and no start-up.
for slow in (
    *("hubsync.cli.pull_cmd", "hubsync.cli.gc_cmd", "hubsync.cli.forget_cmd"),
    *("hubsync.transfer.engine", "huggingface_hub.errors", "httpx2"),
):
    importlib.import_module(slow)


def one_round(argv: list[str], after_s: float | None) -> str:
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(run(argv))
    ended = os.pidfd_open(child)
    try:
        done, _, _ = select.select([ended], [], [], after_s)
        if not done:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(ended)
    if os.WIFSIGNALED(status):
        return "killed"
    return str(os.WEXITSTATUS(status))


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(one_round(order["argv"], order["after_s"]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
