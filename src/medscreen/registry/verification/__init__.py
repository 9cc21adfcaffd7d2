"""Verification of a registered version, and of the workspace that it was made from."""
