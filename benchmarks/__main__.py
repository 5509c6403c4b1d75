"""``python -m benchmarks [GROUP]...``."""

import sys

from benchmarks import catalog, mirrors, misses, pull, serve, store
from benchmarks.command import main

if __name__ == "__main__":
    groups = [pull.GROUP, store.GROUP, serve.GROUP, misses.GROUP, catalog.GROUP]
    groups.append(mirrors.GROUP)
    sys.exit(main(groups))
