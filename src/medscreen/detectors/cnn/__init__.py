"""Convolutional networks trained on both classes."""
