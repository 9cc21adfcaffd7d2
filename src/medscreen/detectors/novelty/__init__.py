"""Fixed features and their distance from those of the healthy images."""
