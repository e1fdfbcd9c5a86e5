"""Adapt diffusers pipelines to the trainer: load them, sample from them, and ask their denoisers."""
