"""Reasons for a score: maps with the proof that they mean something, feature maps, similar cases."""
