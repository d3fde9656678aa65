"""A page without a server: one file that runs the encoder in the browser."""
