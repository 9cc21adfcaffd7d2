"""MLflow as people see it: the store below mlruns/, one run a result, its metrics, pictures and model."""
