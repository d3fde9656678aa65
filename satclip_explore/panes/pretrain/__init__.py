"""Train: an encoder of your own."""
