"""``python -m tests.testhub --dir D --port-file F``: the hub as its own process."""

import argparse
import signal
import threading
from pathlib import Path

from tests.testhub.hub import TestHub


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--page-size", type=int, default=1000)
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with TestHub(options.dir, page_size=options.page_size) as hub:
        temporary = options.port_file.with_suffix(".tmp")
        temporary.write_text(hub.endpoint, "utf-8")
        temporary.rename(options.port_file)
        stop.wait()


main()
