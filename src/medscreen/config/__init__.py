"""params.yaml as frozen, typed values; defaults live in that file and nowhere else."""
