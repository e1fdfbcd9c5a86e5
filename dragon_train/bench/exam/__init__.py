"""The exam of a finished run: judges and prompts that nothing was chosen by, drawn when it is taken."""
