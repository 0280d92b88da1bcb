"""Show and check the settings."""
