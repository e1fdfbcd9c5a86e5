"""Computing on devices: which devices there are, how parts are copied to them, and how many examples fit at once."""
