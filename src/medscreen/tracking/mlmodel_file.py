"""Files of a logged model: the packaged graph, and MLmodel, from which MLflow loads it. Does not import MLflow."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

GRAPH = "model.onnx"
# keys of MLmodel that determine what MLflow loads, and their values for a packaged detector
_LOADS = ("loader_module", "data", "code")
_LOADED = {"onnx": (None, GRAPH, None), "python_function": ("mlflow.onnx", GRAPH, None)}


def local_graph(location: str) -> Path | None:
    """Path of the packaged graph at a location that is a path or a file: URI; None for other URIs."""
    address = urlsplit(location)
    if address.scheme == "file":
        return Path(unquote(address.path)) / GRAPH
    return None if address.scheme else Path(location) / GRAPH


def loads_only_graph(mlmodel: Path) -> bool:
    """True if MLflow would load the packaged graph and no other code or data; raises if the YAML file is damaged."""
    flavors = yaml.safe_load(mlmodel.read_text(encoding="utf-8"))["flavors"]
    return {flavor: tuple(about.get(key) for key in _LOADS) for flavor, about in flavors.items()} == _LOADED
