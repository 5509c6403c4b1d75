"""The loop of `hubsync selftest crash`, on a store that perhaps has a bug.

Its own process, because a fork must not meet other threads:

    python -m tests.crash.kill_driver FOLDER KILLS SEED VICTIMS BUG

Prints one JSON object.
"""

import json
import sys
from pathlib import Path

from hubsync.selftest.crash import CrashPlan, crash
from tests.crash.operations import opener
from tests.crash.planted import with_bug


def main() -> None:
    folder, kills, seed, victims, bug = sys.argv[1:6]
    open_store = with_bug(opener(Path(folder) / "store"), bug)
    plan = CrashPlan(int(kills), int(seed), victims.split(","))
    report = crash(open_store, plan, lambda _done: None)
    said = {
        "kills": report.kills,
        "checks": report.checks,
        "files": report.files,
        "collected": report.collected,
        "found": [str(one) for one in report.violations],
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
