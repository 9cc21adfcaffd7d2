"""Figures of outcomes, and the same as CSV tables for `dvc plots`."""
