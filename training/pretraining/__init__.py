"""Pretraining: settings, model, loss and loop."""
