"""What must be set before any test imports torch."""

from __future__ import annotations

import os

# Several test workers share the cores: one thread each, that sleeps while it waits. Commands that tests start inherit
# it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Tests neither read nor fill the user's cache of embeddings; those of the cache name a folder of their own.
os.environ["DRAGON_CACHE"] = "off"

# Nor do they see the user's exemplar sets.
os.environ["DRAGON_EXEMPLARS"] = "no such folder"
