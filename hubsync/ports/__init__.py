"""Where two implementations, or two packages that may not see each other, meet."""
