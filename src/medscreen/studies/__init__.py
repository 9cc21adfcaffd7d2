"""Optuna's searches for better settings; the only package that imports optuna."""
