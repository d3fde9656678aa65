"""Pretraining of location encoders, and the probes that ask what they know."""
