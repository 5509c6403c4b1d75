"""Trying out, where the user keeps a store, what the store promises."""
