"""News of a release. Nothing here ever decides."""
