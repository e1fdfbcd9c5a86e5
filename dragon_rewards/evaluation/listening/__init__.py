"""A blind A/B listening test of two folders: its plan, its votes, the page that raters use, and its report."""
