"""Evaluation of a detector as JSON, CSV and figures, computed from its outcomes."""
