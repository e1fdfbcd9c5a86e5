"""Blends of the tuned and the untuned weights of a run: what each gains and costs, and a chosen one as a result."""
