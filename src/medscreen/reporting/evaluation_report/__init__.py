"""A detector's evaluation as JSON, CSV and pictures; all of it is computed from outcomes."""
