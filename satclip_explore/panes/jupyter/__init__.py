"""Panes as Jupyter widgets."""
