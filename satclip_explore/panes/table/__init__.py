"""Your data: what was read of a file, and where it goes from here."""
