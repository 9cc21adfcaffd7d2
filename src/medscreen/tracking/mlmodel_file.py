"""MLmodel: the file by which MLflow loads a logged model."""

from pathlib import Path

import yaml

GRAPH = "model.onnx"
# what MLflow loads of a packaged detector: loader module, data, code
_LOADS = ("loader_module", "data", "code")
_LOADED = {"onnx": (None, GRAPH, None), "python_function": ("mlflow.onnx", GRAPH, None)}


def loads_only_graph(mlmodel: Path) -> bool:
    """False if MLflow would load something else than the graph; raises whatever reading a damaged file of YAML does."""
    flavors = yaml.safe_load(mlmodel.read_text(encoding="utf-8"))["flavors"]
    return {flavor: tuple(about.get(key) for key in _LOADS) for flavor, about in flavors.items()} == _LOADED
