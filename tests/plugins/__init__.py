"""The packages under `plugins/`, installed and tested."""
