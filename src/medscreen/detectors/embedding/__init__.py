"""A backbone's features with a classifier head."""
