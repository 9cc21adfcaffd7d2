"""Every path the pipeline reads or writes, once."""

import os
from dataclasses import dataclass
from pathlib import Path

from medscreen.errors import MedscreenError


@dataclass(frozen=True)
class Layout:
    """The paths of one checkout.

    `workspace` holds the files that DVC versions. `home` holds what outlives them (MLflow's store, caches,
    locks). They differ only inside `dvc exp run --temp` or `--queue`, which run in a copy that is deleted.
    """

    workspace: Path
    home: Path

    @property
    def params(self) -> Path:
        return self.workspace / "params.yaml"

    @property
    def lock(self) -> Path:
        """DVC's record of what each stage was made from."""
        return self.workspace / "dvc.lock"

    @property
    def kept_lock(self) -> Path:
        """The last whole one."""
        return self.scratch / "dvc.lock"

    @property
    def raw(self) -> Path:
        """The active data set: its settings and the digest of each of its files."""
        return self.workspace / "data" / "raw.json"

    @property
    def read_besides(self) -> Path:
        """A file a detector, with the digests of what it reads besides the images: weights of others."""
        return self.workspace / "data" / "read_besides"

    def curated(self, split: str) -> Path:
        return self.workspace / "data" / "curated" / split

    @property
    def curation_report(self) -> Path:
        return self.workspace / "reports" / "curation.json"

    @property
    def named_curation(self) -> Path:
        """The curation report with the names of files, for whoever may see the data."""
        return self.workspace / "data" / "curation.json"

    @property
    def names_key(self) -> Path:
        """What names of files are hashed with."""
        return self.scratch / "names.key"

    @property
    def curation_page(self) -> Path:
        """The audit for people. It shows images, and lies with them: out of git."""
        return self.workspace / "data" / "curation.html"

    def fitted(self, detector: str) -> Path:
        """What `fit` leaves: network.onnx, state.safetensors, fit.json, history.csv, scores.parquet."""
        return self.workspace / "models" / detector / "fitted"

    def trained_with(self, detector: str, seed: int) -> Path:
        """The scoring graph of a training with another seed."""
        return self.fitted(detector) / f"network-seed-{seed}.onnx"

    def packaged(self, detector: str) -> Path:
        """The graph that is evaluated, registered and served."""
        return self.workspace / "models" / detector / "detector.onnx"

    def operating_point(self, detector: str) -> Path:
        return self.workspace / "models" / detector / "operating.json"

    def predictions(self, detector: str) -> Path:
        """What the packaged graph says of every curated image."""
        return self.workspace / "models" / detector / "predictions.parquet"

    def report(self, detector: str) -> Path:
        return self.workspace / "reports" / detector

    def figures(self, detector: str) -> Path:
        return self.report(detector) / "figures"

    def tables(self, detector: str) -> Path:
        """The csv files that `dvc plots` draws."""
        return self.report(detector) / "plots"

    def analysis(self, detector: str) -> Path:
        """The tables behind the metrics: bench, calibration, subgroups, findings, seeds."""
        return self.report(detector) / "analysis.json"

    def bench(self, detector: str) -> Path:
        """The policies side by side."""
        return self.report(detector) / "bench.csv"

    def operating_picture(self, detector: str) -> Path:
        return self.report(detector) / "operating.png"

    @property
    def league(self) -> Path:
        return self.workspace / "reports" / "league.csv"

    @property
    def balanced(self) -> Path:
        """Every detector on as many normal as abnormal images."""
        return self.workspace / "reports" / "balanced.csv"

    @property
    def comparison(self) -> Path:
        """Every detector of the roster against the leader."""
        return self.workspace / "reports" / "comparison.csv"

    @property
    def promotion(self) -> Path:
        return self.workspace / "reports" / "promotion.json"

    @property
    def studies(self) -> Path:
        """What Optuna keeps; git-ignored."""
        return self.home / "studies"

    @property
    def studies_journal(self) -> Path:
        return self.studies / "journal.log"

    def study_report(self, detector: str) -> Path:
        return self.workspace / "reports" / "studies" / detector

    def study_winner(self, detector: str) -> Path:
        """What the study chose, and by what figures."""
        return self.study_report(detector) / "winner.json"

    @property
    def mlruns(self) -> Path:
        return self.home / "mlruns"

    @property
    def scratch(self) -> Path:
        """Locks and caches, git-ignored. Safe to delete while nothing runs, but for `names_key`."""
        return self.home / ".medscreen"


def find_layout(start: Path | None = None) -> Layout:
    """The layout of the checkout that `start` (default: the working directory) lies in.

    Raises MedscreenError outside a checkout. DVC tells its stages through DVC_ROOT where the original
    checkout is, even when it runs them in a temporary copy.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return Layout(folder, Path(os.environ.get("DVC_ROOT") or folder).resolve())
    raise MedscreenError(
        f"No medscreen project (a folder with dvc.yaml and params.yaml) at {here} or above it; "
        "run the command inside the checkout."
    )
