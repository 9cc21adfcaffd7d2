"""Hyperparameter searches with Optuna; no other package imports it."""
