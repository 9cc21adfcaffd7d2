"""Weighted mean of the scores of several detectors."""
