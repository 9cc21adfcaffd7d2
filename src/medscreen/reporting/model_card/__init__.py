"""The card of a registered version."""
