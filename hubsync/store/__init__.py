"""Bytes on a local disk, and the folders that clients read."""
