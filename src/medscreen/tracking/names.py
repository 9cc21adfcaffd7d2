"""The names under which MLflow keeps things of medscreen: tags of runs and versions, and files of runs."""

DIGEST = "medscreen.packaged_digest"
RUN_KEY = "medscreen.run_key"
DETECTOR, DATA, LINEAGE = "medscreen.detector", "medscreen.data_digest", "medscreen.lineage_digest"
COMMIT, DIRTY, EXPERIMENT = "mlflow.source.git.commit", "medscreen.dirty", "medscreen.dvc_exp_name"
STUDY, TRIAL = "medscreen.study", "medscreen.trial"
# of runs alone
WRITER, CHECKOUT = "medscreen.writer", "medscreen.checkout"
TRAINED_AT, REPORTED = "medscreen.trained_at", "medscreen.report_digest"
# of versions alone; RUN replaces a run that was removed: MLflow never changes the run id of a version
VAL, SPLITS, BASELINE = "medscreen.val_digest", "medscreen.split_digests", "medscreen.is_baseline"
POLICY, OPERATING_POINT_OF = "medscreen.threshold_policy", "medscreen.operating_point_of"
DECISION, ROLLED_BACK, RUN = "medscreen.decision", "medscreen.rolled_back", "medscreen.run"
CARD = "medscreen.card_digest"

STAGES = ("Staging", "Production", "Archived")
LINEAGE_FILE, OPERATING_FILE = "lineage.json", "operating.json"
SCORES = "scores.parquet"
"""Scores and labels of val and test, on which another operating point is chosen."""
SCORE_COLUMNS = ("split", "patient", "label", "score")
TRAINED_ON = "trained_on.parquet"
"""The images that no comparison with the detector may use."""
SIMILAR_CASES = "similar_cases.parquet"
"""Embeddings, labels and keyed names of the training images."""


def model_name(dataset: str) -> str:
    """The registered model that a data set's detectors are versions of."""
    return f"{dataset}-detector"
