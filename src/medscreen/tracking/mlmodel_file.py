"""Files of a logged model: the packaged graph, and MLmodel, by which MLflow loads it. Imports no MLflow."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

GRAPH = "model.onnx"
# what MLflow loads of a packaged detector: loader module, data, code
_LOADS = ("loader_module", "data", "code")
_LOADED = {"onnx": (None, GRAPH, None), "python_function": ("mlflow.onnx", GRAPH, None)}


def local_graph(location: str) -> Path | None:
    """The packaged graph at a location that MLflow stores as a path or a file: address; None for any other address."""
    address = urlsplit(location)
    if address.scheme == "file":
        return Path(unquote(address.path)) / GRAPH
    return None if address.scheme else Path(location) / GRAPH


def loads_only_graph(mlmodel: Path) -> bool:
    """False if MLflow would load something else than the graph; raises whatever reading a damaged file of YAML does."""
    flavors = yaml.safe_load(mlmodel.read_text(encoding="utf-8"))["flavors"]
    return {flavor: tuple(about.get(key) for key in _LOADS) for flavor, about in flavors.items()} == _LOADED
