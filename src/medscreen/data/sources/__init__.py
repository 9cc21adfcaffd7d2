"""Image sources: one module per kind of source; all of them return records."""
