"""A second device that every machine has, for tests of devices."""
