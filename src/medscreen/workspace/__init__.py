"""The checkout: its paths, atomic outputs, locks, digests and lineage."""
