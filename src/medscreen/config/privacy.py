"""Disclosure control: public data sets, and the smallest group of patients that is reported."""

from medscreen.config.datasets import DatasetParams, MedMnistParams, PhantomParams

UNKNOWN = "unknown"
FEWEST = 5
"""Minimum number of patients of a value: a rarer value may identify a patient, or be a patient's name."""
OTHER = f"other (fewer than {FEWEST} patients)"
"""Replacement for values of fewer patients, in data sets that are not public."""


def is_public(dataset: DatasetParams) -> bool:
    """True if images and file names may be logged to MLflow: simulated or published data.

    In data of all other sources both may identify patients.
    """
    return isinstance(dataset, PhantomParams | MedMnistParams)
