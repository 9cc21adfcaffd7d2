"""MLflow tracking: the store below mlruns/ or on a server, one run per result, backups."""
