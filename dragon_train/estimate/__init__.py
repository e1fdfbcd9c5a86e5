"""Estimate what a run takes, in memory and in time, before anything is loaded.

The trainer's own code runs one step on networks without values (`estimate.hollow`), every operation is counted
(`estimate.counting`, `estimate.phases`, `estimate.learning`), and a device's speed turns counts into seconds
(`estimate.machine`). `estimate.measure` takes a real step for comparison.
"""
