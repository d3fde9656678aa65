"""Precomputed embeddings as encoders: read where places are, never whole."""
