"""One thin file a DVC stage: load, call one thing, save."""

from medscreen.runtime.startup import prepare_process

prepare_process()  # before a stage imports torch or MLflow
