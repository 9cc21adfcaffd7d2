"""Reasons for a score: maps, similar cases, and the checks that they mean something."""
