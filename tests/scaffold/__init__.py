"""`dragon plugins new`: what it writes, and what it refuses."""
