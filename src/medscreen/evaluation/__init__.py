"""Scores and labels -> figures with intervals; knows no detector."""
