"""Curated splits of a data set, as in the pipeline."""

from pathlib import Path

from medscreen.config.datasets import DatasetParams
from medscreen.config.params import Params
from medscreen.data.curation.curation import Curated, curate
from medscreen.data.sources import read_source as sources


def curated(settings: DatasetParams, params: Params, seed: int, folder: Path) -> Curated:
    """Curates a data set into its four splits; `folder` receives the decoded pixels. Settings need no params.yaml."""
    root, workers = sources.root_of(settings, Path.cwd()), params.compute.threads
    sources.find_files(settings, root, workers)
    records = sources.read_records(settings, root)
    return curate(records, settings.image_size, params.curation, seed, workers, folder / "decoded.npy")
