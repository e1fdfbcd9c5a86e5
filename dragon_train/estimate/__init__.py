"""What a run takes, in memory and in time, before anything is loaded."""
