"""How users load a registered detector."""

import re

from medscreen.errors import MedscreenError
from medscreen.layout import find_layout
from medscreen.packaging.detector import PackagedDetector
from medscreen.registry.stages import quiet
from medscreen.registry.versions import held, require_graph
from medscreen.tracking import open_store


def load_detector(name: str, stage: str = "Production") -> PackagedDetector:
    """The detector that the registered model `name` has in `stage`, ready to screen images.

    Raises MedscreenError outside a checkout, for an unknown stage and where no version has that stage.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise MedscreenError(f"{name!r} is no name of a registered model; letters, digits, '.', '-' and '_' make one.")
    layout = find_layout()
    client = open_store(layout)
    version = held(client, name, stage)
    if version is None:
        with quiet():
            known = ", ".join(model.name for model in client.search_registered_models()) or "none yet"
        raise MedscreenError(
            f"No version of {name} is in {stage} (registered models: {known}); `make repro` puts one into Production."
        )
    return PackagedDetector(require_graph(client, layout, version))
