"""hubsync: a model-hub mirror and sync daemon."""

__version__ = "0.1.0"
