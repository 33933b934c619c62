"""Image files to a table with an image a row."""
