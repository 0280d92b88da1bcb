"""Health checks of what users reach."""
