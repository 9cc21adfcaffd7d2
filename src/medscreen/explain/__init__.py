"""Explanations: maps that show where a detector sees the abnormality, and the proof that they mean something."""
