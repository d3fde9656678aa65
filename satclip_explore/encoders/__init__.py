"""Location encoders, their weights, and the files these come in."""
