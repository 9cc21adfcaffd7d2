"""All paths of the pipeline."""

import os
from dataclasses import dataclass
from pathlib import Path

from medscreen.errors import MedscreenError


@dataclass(frozen=True)
class Layout:
    """The paths of one checkout.

    `workspace` holds the files that DVC versions. `home` holds persistent files (MLflow's store, caches, locks). They
    differ only in `dvc exp run --temp` or `--queue`, which run in a temporary copy.
    """

    workspace: Path
    home: Path

    @property
    def params(self) -> Path:
        return self.workspace / "params.yaml"

    @property
    def lock(self) -> Path:
        """DVC's record of dependencies and outputs of each stage."""
        return self.workspace / "dvc.lock"

    @property
    def kept_lock(self) -> Path:
        """Copy of the last complete dvc.lock."""
        return self.scratch / "dvc.lock"

    @property
    def raw(self) -> Path:
        """The active data set: its settings and the digest of each of its files."""
        return self.workspace / "data" / "raw.json"

    @property
    def external_weights(self) -> Path:
        """One JSON file per detector: digests of the external files that its training reads."""
        return self.workspace / "data" / "external_weights"

    @property
    def development(self) -> Path:
        """Train, tune and val, one folder each."""
        return self.workspace / "data" / "curated" / "development"

    def curated(self, split: str) -> Path:
        """The images of a split; test is in a separate folder, which training and calibration do not depend on."""
        return self.workspace / "data" / "curated" / "test" if split == "test" else self.development / split

    @property
    def lesion_masks(self) -> Path:
        """Lesion masks of the test images, if the data set has them."""
        return self.curated("test") / "masks.npy"

    @property
    def curation_report(self) -> Path:
        return self.workspace / "reports" / "curation.json"

    @property
    def named_curation(self) -> Path:
        """The curation report with file names, which may identify patients: out of git."""
        return self.workspace / "data" / "curation.json"

    @property
    def names_key(self) -> Path:
        """Key of the hashed names of files."""
        return self.scratch / "names.key"

    @property
    def curation_page(self) -> Path:
        """The curation report as HTML. It shows images and is therefore out of git."""
        return self.workspace / "data" / "curation.html"

    def fitted(self, detector: str) -> Path:
        """Outputs of `fit`: network.onnx, explain.onnx, state.safetensors, fit.json, history.csv."""
        return self.workspace / "models" / detector / "fitted"

    def trained_with(self, detector: str, seed: int) -> Path:
        """ONNX graph of a network trained with another seed."""
        return self.fitted(detector) / f"network-seed-{seed}.onnx"

    def map_graph(self, detector: str) -> Path:
        """ONNX graph from images to maps; missing if the detector has no map."""
        return self.fitted(detector) / "explain.onnx"

    def packaged(self, detector: str) -> Path:
        """The packaged ONNX graph, which is evaluated, registered and served."""
        return self.workspace / "models" / detector / "detector.onnx"

    def development_predictions(self, detector: str) -> Path:
        """The packaged graph's outputs for train, tune and val."""
        return self.workspace / "models" / detector / "development.parquet"

    @property
    def all_predictions(self) -> Path:
        return self.workspace / "reports" / "predictions"

    def predictions(self, detector: str) -> Path:
        """The packaged graph's outputs for every curated image."""
        return self.all_predictions / f"{detector}.parquet"

    @property
    def metrics(self) -> Path:
        """One JSON file per detector, a row of `dvc metrics show`."""
        return self.workspace / "reports" / "metrics"

    @property
    def plots(self) -> Path:
        """CSV files for `dvc plots`: the curves of all detectors in one figure."""
        return self.workspace / "reports" / "plots"

    @property
    def all_reports(self) -> Path:
        return self.workspace / "reports" / "detectors"

    def report(self, detector: str) -> Path:
        return self.all_reports / detector

    @property
    def all_figures(self) -> Path:
        return self.workspace / "reports" / "figures"

    def figures(self, detector: str) -> Path:
        return self.all_figures / detector

    def evaluation(self, detector: str) -> Path:
        """All metrics of all splits with their intervals."""
        return self.report(detector) / "evaluation.json"

    def analysis(self, detector: str) -> Path:
        """The tables behind the metrics: thresholds, calibration, subgroups, findings, seeds."""
        return self.report(detector) / "analysis.json"

    def explanations(self, detector: str) -> Path:
        """Tests of the detector's map against lesions, chance and randomized weights."""
        return self.report(detector) / "explanations.json"

    def threshold_comparison(self, detector: str) -> Path:
        """Comparison of all threshold policies."""
        return self.report(detector) / "threshold_comparison.csv"

    def operating_picture(self, detector: str) -> Path:
        return self.figures(detector) / "operating.png"

    def cases_picture(self, detector: str) -> Path:
        """Images of val with their maps; only those of public data may leave this machine."""
        return self.figures(detector) / "cases.png"

    @property
    def leaderboard(self) -> Path:
        return self.workspace / "reports" / "leaderboard.csv"

    @property
    def balanced(self) -> Path:
        """Metrics of all detectors on equal numbers of normal and abnormal images."""
        return self.workspace / "reports" / "balanced.csv"

    @property
    def comparison(self) -> Path:
        """Paired comparison of all detectors with the leader."""
        return self.workspace / "reports" / "comparison.csv"

    @property
    def promotion(self) -> Path:
        return self.workspace / "reports" / "promotion.json"

    @property
    def studies(self) -> Path:
        """Optuna's storage; git-ignored."""
        return self.home / "studies"

    @property
    def studies_journal(self) -> Path:
        return self.studies / "journal.log"

    def study_report(self, detector: str) -> Path:
        return self.workspace / "reports" / "studies" / detector

    def study_winner(self, detector: str) -> Path:
        """Winner of the study with its metrics."""
        return self.study_report(detector) / "winner.json"

    @property
    def mlruns(self) -> Path:
        return self.home / "mlruns"

    @property
    def scratch(self) -> Path:
        """Locks and caches, git-ignored. Safe to delete while nothing runs, but for `names_key`."""
        return self.home / ".medscreen"


def find_layout(start: Path | None = None) -> Layout:
    """The layout of the checkout that contains `start` (default: the working directory).

    Raises MedscreenError outside a checkout. DVC sets DVC_ROOT to the original checkout for its stages, even in a
    temporary copy.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return Layout(folder, Path(os.environ.get("DVC_ROOT") or folder).resolve())
    raise MedscreenError(
        f"No medscreen project (a folder with dvc.yaml and params.yaml) at {here} or above it; "
        "run the command inside the checkout."
    )
