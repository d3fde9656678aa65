"""Tasks: labeled places, and how they are split."""
