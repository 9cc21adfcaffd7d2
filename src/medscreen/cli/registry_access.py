"""Access to the registry for the commands on registered models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medscreen.config.params import Params, load_params
from medscreen.errors import MedscreenError
from medscreen.workspace.layout import Layout, find_layout

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from medscreen.registry.loaded_version import LoadedVersion


@dataclass(frozen=True)
class Registry:
    """The checkout, its MLflow client and the name of a registered model."""

    layout: Layout
    params: Params
    client: "MlflowClient"
    model: str


def open_registry(name: str | None) -> Registry:
    """Opens the registry for the model `name`, by default that of the active data set.

    Raises MedscreenError for the model of another data set: the gate evaluates versions on `val` of the active one.
    """
    from medscreen.tracking.names import model_name
    from medscreen.tracking.store import open_store

    layout = find_layout()
    params = load_params(layout.params)
    active = model_name(params.dataset)
    if name not in {None, active}:
        others = {model_name(dataset): dataset for dataset in params.datasets}
        way = f"`make repro DATASET={others[name]}` activates its data set" if name in others else f"use {active}"
        raise MedscreenError(f"{name} is not the model of the active data set {params.dataset}; {way}.")
    return Registry(layout, params, open_store(layout), active)


def model_or_default(name: str | None) -> str:
    """`name`, or the name of the registered model of the active data set."""
    from medscreen.tracking.names import model_name

    return name or model_name(load_params(find_layout().params).dataset)


def load_version(name: str | None, stage: str) -> "LoadedVersion":
    """Loads the version in a stage of a registered model, by default that of the active data set."""
    from medscreen.registry.loaded_version import LoadedVersion
    from medscreen.registry.loading import record_in_stage

    return LoadedVersion(record_in_stage(model_or_default(name), stage))
