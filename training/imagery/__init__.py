"""Imagery: sources, frozen image encoders, cached features."""
