"""Output to a terminal: the progress of commands, and text in which no character can control the terminal."""
