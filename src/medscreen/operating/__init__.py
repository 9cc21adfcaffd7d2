"""From scores to decisions: threshold, deferral band, conformal p-value, probability."""
