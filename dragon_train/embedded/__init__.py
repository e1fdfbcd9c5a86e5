"""Hold the embedded text-to-music pipeline: 5.12 s clips at 16 kHz, trained on rendered public-domain scores."""
