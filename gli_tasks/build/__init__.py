"""Builds: the checks of a source folder, bundle sizes, generated environment files."""
