"""Tasks: labelled places, and how they are split."""
