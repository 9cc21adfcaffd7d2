"""Detectors, one folder a family: each scores images, the more abnormal the higher."""
