"""MLflow as people see it: the store below mlruns/, one run a result, its metrics, pictures and model."""

from medscreen.tracking.results import Result, read_results
from medscreen.tracking.runs import finish_run, live_run
from medscreen.tracking.store import open_store, serve_ui

__all__ = ["Result", "finish_run", "live_run", "open_store", "read_results", "serve_ui"]
