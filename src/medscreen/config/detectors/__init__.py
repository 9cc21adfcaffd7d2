"""Settings of each detector family."""
