"""Disclosure control: the parts of a data set that may leave its machine."""

from medscreen.config.datasets import DatasetParams, MedMnistParams, PhantomParams

UNKNOWN = "unknown"
FEWEST = 5
"""Patients that a value has to have, lest it leads to one of them or was typed as the name of one."""
OTHER = f"other (fewer than {FEWEST} patients)"
"""The value in place of those of fewer patients, where a data set is not public."""


def is_public(dataset: DatasetParams) -> bool:
    """True if pictures and names of files may go to MLflow: simulated or published data.

    Of every other kind of source both may be patients'.
    """
    return isinstance(dataset, PhantomParams | MedMnistParams)
