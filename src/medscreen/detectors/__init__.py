"""Detectors, one package per family. Each maps images to scores; a higher score is more abnormal."""
