"""Files: what is read from others and written for others."""
