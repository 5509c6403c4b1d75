"""``python -m benchmarks [GROUP]...``."""

import sys

from benchmarks import catalog, pull, serve, store
from benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main([pull.GROUP, store.GROUP, serve.GROUP, catalog.GROUP]))
