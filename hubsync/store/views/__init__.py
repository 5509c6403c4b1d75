"""Directories laid out as clients' own caches: links only."""
