"""From records to splits: read, deduplicated, cut by patient, audited."""
