"""The verbs of the `dragon` command, a file each."""
