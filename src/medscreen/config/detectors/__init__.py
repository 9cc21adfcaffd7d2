"""The settings of each family of detectors."""
