"""Where plugins find their weights."""
