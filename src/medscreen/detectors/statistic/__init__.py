"""Baselines: one image statistic and its distance from the healthy median."""
