"""Compare: encoders side by side."""
