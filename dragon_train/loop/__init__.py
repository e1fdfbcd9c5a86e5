"""The training loop: rollouts, selection, learning, comparison on held-out prompts, checkpoints."""
