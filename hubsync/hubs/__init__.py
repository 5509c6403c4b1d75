"""Where repos come from: one adapter a kind of hub."""
