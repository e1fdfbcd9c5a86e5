"""What is written to a terminal: progress, and text that cannot control it."""
