"""Evaluation: whether an embedding helps, and how far from the labels that carries."""
