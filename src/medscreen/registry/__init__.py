"""The registry's life: versions of packaged detectors, their stages, what was promoted and why."""
