"""Typed, immutable settings from params.yaml, which holds all defaults."""
