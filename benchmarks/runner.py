"""A small process that runs commands, so that their peak memory is their own.

Linux counts what a process had at its fork into its child's peak.  This one has
next to nothing, and imports next to nothing: keep it so.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

TIMEOUT_S = 900


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as said:
            began = time.perf_counter()
            process = subprocess.Popen(
                asked["command"],
                env=asked["environment"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            killer = threading.Timer(TIMEOUT_S, os.kill, (process.pid, signal.SIGKILL))
            killer.start()
            # Not wait(): only wait4 tells what this one child took.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            killer.cancel()
            said.seek(0)
            text = said.read().decode(errors="replace")[-2000:]
        answer = {
            "seconds": seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "rss_bytes": usage.ru_maxrss * 1024,
            "status": os.waitstatus_to_exitcode(status),
            "said": text,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
