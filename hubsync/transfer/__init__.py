"""Moving bytes from a hub into the store."""
