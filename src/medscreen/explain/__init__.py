"""Explanation of a score: maps and their validation, feature maps, similar cases."""
