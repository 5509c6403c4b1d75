"""Bringing repos into the store: plan, then apply."""
