"""Letting go of what is not wanted, and checking what is."""
