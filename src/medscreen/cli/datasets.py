"""Choosing the data set, fetching published ones, and making simulated ones."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medscreen.cli.params_file import edited
from medscreen.config.datasets import PhantomParams
from medscreen.config.params import Params, load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say
from medscreen.workspace.dvc_lock import mend_lock
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from medscreen.data.sources.phantom.export import Form

# Below datasets: of params.yaml, what makes the written folder a data set of the pipeline.
_ENTRIES: dict[str, dict[str, Any]] = {
    "folders": {
        "kind": "folders",
        "normal_classes": ["normal"],
        "patient_pattern": None,
        "published_splits": "keep",
    },
    "npz": {"kind": "medmnist", "flag": "phantom", "normal_labels": [0]},
}


@click.command()
@click.argument("dataset", required=False)
def use(dataset: str | None) -> None:
    """Makes DATASET, an entry of datasets: in params.yaml, the active one; without it, says which one is.

    A dvc.lock that a killed dvc has left half written is put right first.
    """
    layout = find_layout()
    path = layout.params
    params = load_params(path)
    if mended := mend_lock(layout):
        say(f"medscreen: {mended}", err=True)
    if dataset is None:
        say(f"params.yaml: dataset: {params.dataset}")
        return
    if dataset not in params.datasets:
        raise MedscreenError(
            f"params.yaml has no data set {dataset!r}; its datasets: block holds {', '.join(params.datasets)}."
        )
    if params.dataset != dataset:
        with edited(path) as content:
            content["dataset"] = dataset
        say(f"params.yaml: dataset: {dataset}")


@click.command()
@click.argument("dataset", required=False)
def fetch(dataset: str | None) -> None:
    """Fills the folder of DATASET, an entry of datasets: in params.yaml, from Kaggle; without it, says which can be."""
    from medscreen.data.sources.kaggle import ON_KAGGLE, fetch_from_kaggle
    from medscreen.data.sources.read_source import root_of

    layout = find_layout()
    known = load_params(layout.params).datasets
    if dataset is None:
        for name, there in ON_KAGGLE.items():
            say(f"{name}: {there.page}")
        return
    if dataset not in ON_KAGGLE:
        raise MedscreenError(f"{dataset!r} can't be fetched from Kaggle; what can is {', '.join(ON_KAGGLE)}.")
    if dataset not in known:
        raise MedscreenError(f"params.yaml has no entry {dataset!r} below datasets: to say where to; add it back.")
    root = root_of(known[dataset], layout.workspace)
    number = fetch_from_kaggle(ON_KAGGLE[dataset], root)
    say(f"{root}: {number} files. Next: make repro DATASET={dataset}")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--as", "form", type=click.Choice(["dicom", "folders", "npz"]), default="dicom", show_default=True)
@click.option("--patients", type=click.IntRange(min=40), help="By default as in params.yaml, like all that follow.")
@click.option("--size", type=click.IntRange(16, 2048), help="Pixels a side.")
@click.option("--seed", type=click.IntRange(min=0), help="Equal seeds give equal bytes.")
def phantom(out: Path, form: "Form", patients: int | None, size: int | None, seed: int | None) -> None:
    """Writes simulated chest films to the folder OUT: hospital DICOM, class folders or a MedMNIST-form file."""
    from medscreen.data.sources.phantom.export import find_files

    params = load_params(find_layout().params)
    wanted = {"patients": patients, "image_size": size, "seed": seed}
    settings = _phantom_entry(params).model_copy(update={k: v for k, v in wanted.items() if v is not None})
    root = out.expanduser().absolute()
    try:
        files = find_files(settings, root, params.compute.threads, form)
    except OSError as error:
        raise MedscreenError(f"{out} can't be written ({error.strerror}); name another folder.") from error
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    say(f"{out}: {settings.patients} simulated patients, {len(files)} files, {megabytes:.1f} MB.")
    entry = settings.model_dump() if form == "dicom" else _ENTRIES[form] | {"image_size": settings.image_size}
    say("To screen them, add to params.yaml, below datasets:, and then `make repro DATASET=simulated`:")
    say()
    say("  simulated:")
    for key, value in (entry | {"root": str(root)}).items():
        say(f"    {key}: {json.dumps(value)}")  # a YAML value, whatever a path is called


def _phantom_entry(params: Params) -> PhantomParams:
    for entry in params.datasets.values():
        if isinstance(entry, PhantomParams):
            return entry
    raise MedscreenError("params.yaml has no data set of kind phantom to take the settings from; add one back.")
