"""Model card of a registered version."""
