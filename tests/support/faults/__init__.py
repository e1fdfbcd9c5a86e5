"""Bad files, kills and full disks, and what becomes of them."""
