"""Handcrafted features and their distance from those of healthy images."""
