"""Operating points: threshold, deferral band, conformal p-value and probability from a score."""
