"""Where things are computed: devices, what follows a clip to its device, and how many clips fit at once."""
