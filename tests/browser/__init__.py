"""Tests in a real browser. A package, since its fixtures end with it and not with the session."""
