"""Files of images: how they are found, read, scored, compared and kept as exemplar sets."""
