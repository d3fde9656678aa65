"""Probe: what an encoder knows of a task."""
