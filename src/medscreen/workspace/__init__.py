"""Paths of a checkout, atomic outputs, locks, digests and lineage."""
