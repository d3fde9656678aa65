"""What a page served without network needs."""
