"""DVC stages, one file each."""

from medscreen.runtime.startup import prepare_process

prepare_process()  # before a stage imports torch or MLflow
