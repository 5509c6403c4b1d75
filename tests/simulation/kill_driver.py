"""Runs pulls in forked children and kills them when told to.

Its own process, because a fork must not meet other threads.  Reads one number a
line: the seconds after which to kill -9; answers "killed" or the child's status.
"""

import importlib
import os
import select
import signal
import sys

from hubsync.cli.main import run

# Imported once here, so that a round is all pull and no start-up.
for slow in ("hubsync.cli.pull_cmd", "huggingface_hub.errors", "httpx2"):
    importlib.import_module(slow)


def one_round(root: str, repo: str, after_s: float) -> str:
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(run(["pull", repo, "--root", root]))
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
    root, repo = sys.argv[1:3]
    for line in sys.stdin:
        sys.stdout.write(one_round(root, repo, float(line)) + "\n")
        sys.stdout.flush()


main()
