"""``python -m hubsync``."""

from hubsync.cli.main import main

main()
