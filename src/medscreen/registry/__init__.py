"""The model registry: versions of packaged detectors, their stages, and the log of promotion decisions."""
