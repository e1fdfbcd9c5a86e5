"""Train: rollouts, selection, learning, comparison on held-out prompts, checkpoints; `loop.loop` is where to begin."""
