"""A data set's splits, as the pipeline cuts them."""

from pathlib import Path

from medscreen.config.datasets import DatasetParams
from medscreen.config.params import Params
from medscreen.data.curation.curation import Curated, curate
from medscreen.data.sources import read_source as sources


def curated(settings: DatasetParams, params: Params, seed: int, folder: Path) -> Curated:
    """The four splits of a data set whose settings need not stand in params.yaml; `folder` takes the decoded pixels."""
    root, workers = sources.root_of(settings, Path.cwd()), params.compute.threads
    sources.find_files(settings, root, workers)
    records = sources.read_records(settings, root)
    return curate(records, settings.image_size, params.curation, seed, workers, folder / "decoded.npy")
