"""The built-in reductions, which turn embeddings into numbers."""
