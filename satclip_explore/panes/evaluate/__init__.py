"""Evaluate: whether an embedding helps somebody's data, and how far that carries."""
