"""Which images to look at first, and what a few looks teach."""
