"""Masked diffusion over tokens of audio latents: its codebook, its transformer, its scheduler and its pipeline."""
