"""Fine-tune diffusion pipelines on any registered reward (DRAGON, arXiv 2504.15217)."""
