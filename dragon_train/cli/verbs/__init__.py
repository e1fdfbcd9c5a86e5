"""The verbs of the `dragon` command, each in a file."""
