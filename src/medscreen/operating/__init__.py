"""From scores to decisions: threshold, refer band, conformal p-value, probability."""
