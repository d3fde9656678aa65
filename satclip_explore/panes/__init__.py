"""Panes: small views of compute results, alone in a cell or together in the app."""
