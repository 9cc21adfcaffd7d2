"""Metrics with intervals from scores and labels, independent of detectors."""
