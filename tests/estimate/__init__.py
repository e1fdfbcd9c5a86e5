"""What a run takes, counted before anything is loaded."""
