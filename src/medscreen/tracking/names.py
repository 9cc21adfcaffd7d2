"""Names of medscreen's tags and files in MLflow runs and model versions."""

DIGEST = "medscreen.packaged_digest"
RUN_KEY = "medscreen.run_key"
DETECTOR, DATA, LINEAGE = "medscreen.detector", "medscreen.data_digest", "medscreen.lineage_digest"
COMMIT, DIRTY, EXPERIMENT = "mlflow.source.git.commit", "medscreen.dirty", "medscreen.dvc_exp_name"
STUDY, TRIAL = "medscreen.study", "medscreen.trial"
# tags of runs only
WRITER, CHECKOUT = "medscreen.writer", "medscreen.checkout"
TRAINED_AT, REPORTED = "medscreen.trained_at", "medscreen.report_digest"
# tags of versions only; RUN replaces a removed run, since MLflow never changes a version's run id
VAL, SPLITS, BASELINE = "medscreen.val_digest", "medscreen.split_digests", "medscreen.is_baseline"
POLICY, OPERATING_POINT_OF = "medscreen.threshold_policy", "medscreen.operating_point_of"
DECISION, ROLLED_BACK, RUN = "medscreen.decision", "medscreen.rolled_back", "medscreen.run"
CARD = "medscreen.card_digest"

STAGES = ("Staging", "Production", "Archived")
LINEAGE_FILE, OPERATING_FILE = "lineage.json", "operating.json"
SCORES = "scores.parquet"
"""Scores and labels of val and test, from which `medscreen threshold` chooses another operating point."""
SCORE_COLUMNS = ("split", "patient", "label", "score")
TRAINED_ON = "trained_on.parquet"
"""Digests of the training images, which are excluded from comparisons."""
SIMILAR_CASES = "similar_cases.parquet"
"""Embeddings, labels and keyed names of the training images."""


def model_name(dataset: str) -> str:
    """Name of the registered model of a data set, whose versions are its detectors."""
    return f"{dataset}-detector"
