"""The release: pipeline, record, steps."""
