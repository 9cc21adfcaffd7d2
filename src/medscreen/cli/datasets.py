"""Commands use, fetch and phantom for data sets."""

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

# Entries for datasets: in params.yaml, by format of the written folder.
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
    """Sets or prints the active data set.

    DATASET is an entry of datasets: in params.yaml. The command also repairs a dvc.lock that a killed dvc left
    incomplete.

    Example: `medscreen use pneumoniamnist`
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
            f"params.yaml: no entry {dataset!r} below datasets. Choose one of {', '.join(params.datasets)}."
        )
    if params.dataset != dataset:
        with edited(path) as content:
            content["dataset"] = dataset
        say(f"params.yaml: dataset: {dataset}")


@click.command()
@click.argument("dataset", required=False)
def fetch(dataset: str | None) -> None:
    """Downloads DATASET from Kaggle into its folder.

    DATASET is an entry of datasets: in params.yaml, whose root is the folder. Without DATASET, lists the data sets that
    can be downloaded.

    Example: `medscreen fetch bone-fracture`
    """
    from medscreen.data.sources.kaggle import ON_KAGGLE, fetch_from_kaggle
    from medscreen.data.sources.read_source import root_of

    layout = find_layout()
    known = load_params(layout.params).datasets
    if dataset is None:
        for name, there in ON_KAGGLE.items():
            say(f"{name}: {there.page}")
        return
    if dataset not in ON_KAGGLE:
        raise MedscreenError(f"{dataset!r} can't be fetched from Kaggle; choose one of {', '.join(ON_KAGGLE)}.")
    if dataset not in known:
        raise MedscreenError(f"params.yaml: no entry {dataset!r} below datasets, which names the folder. Add it back.")
    root = root_of(known[dataset], layout.workspace)
    number = fetch_from_kaggle(ON_KAGGLE[dataset], root)
    say(f"{root}: {number} files. Next: make repro DATASET={dataset}")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--as", "form", type=click.Choice(["dicom", "folders", "npz"]), default="dicom", show_default=True, help="Format."
)
@click.option("--patients", type=click.IntRange(min=40), help="Number of patients; default as in params.yaml.")
@click.option("--size", type=click.IntRange(16, 2048), help="Pixels a side; default as in params.yaml.")
@click.option("--seed", type=click.IntRange(min=0), help="Random seed; equal seeds give equal bytes.")
def phantom(out: Path, form: "Form", patients: int | None, size: int | None, seed: int | None) -> None:
    """Writes simulated chest films to the folder OUT.

    Formats: hospital DICOM, class folders, or an .npz file like those of MedMNIST.

    Example: `medscreen phantom films --as folders --patients 200`
    """
    from medscreen.data.sources.phantom.export import find_files

    params = load_params(find_layout().params)
    wanted = {"patients": patients, "image_size": size, "seed": seed}
    settings = _phantom_entry(params).model_copy(update={k: v for k, v in wanted.items() if v is not None})
    root = out.expanduser().absolute()
    try:
        files = find_files(settings, root, params.compute.threads, form)
    except OSError as error:
        raise MedscreenError(f"{out}: can't be written ({error.strerror}). Name another folder.") from error
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    say(f"{out}: {settings.patients} simulated patients, {len(files)} files, {megabytes:.1f} MB.")
    entry = settings.model_dump() if form == "dicom" else _ENTRIES[form] | {"image_size": settings.image_size}
    say("To use them, add this below datasets: in params.yaml and run `make repro DATASET=simulated`:")
    say()
    say("  simulated:")
    for key, value in (entry | {"root": str(root)}).items():
        say(f"    {key}: {json.dumps(value)}")  # JSON quotes make any path a valid YAML value


def _phantom_entry(params: Params) -> PhantomParams:
    for entry in params.datasets.values():
        if isinstance(entry, PhantomParams):
            return entry
    raise MedscreenError(
        "params.yaml: no entry of kind phantom below datasets, which has the default settings. Add one back."
    )
