"""Adapters over diffusers pipelines."""
