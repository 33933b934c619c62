"""Which files there are, what is in archives of them, and what their names, headers and labels tell."""
