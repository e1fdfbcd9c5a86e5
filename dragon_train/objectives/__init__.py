"""The built-in objectives: losses that move a policy toward a reward."""
