"""Define the built-in objectives: what a policy learns from its generations, and by which loss."""
