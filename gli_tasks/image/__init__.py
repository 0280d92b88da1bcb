"""Images: build, push with proof, list."""
