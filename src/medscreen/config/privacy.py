"""What of a data set may leave the machine that holds it."""

from medscreen.config.datasets import DatasetParams, MedMnistParams, PhantomParams

UNKNOWN = "unknown"
FEWEST = 5
"""Patients that a value has to have, lest it leads to one of them or was typed as the name of one."""
OTHER = f"other (fewer than {FEWEST} patients)"
"""What stands for the values that fewer have, where a data set is not public."""


def is_public(dataset: DatasetParams) -> bool:
    """Whether pictures and names of files may go to MLflow: they show nobody, or were published for all to see.

    Of every other kind of source both may be patients'.
    """
    return isinstance(dataset, PhantomParams | MedMnistParams)
