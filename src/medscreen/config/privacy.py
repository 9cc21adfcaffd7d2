"""What of a data set may leave the machine that holds it."""

from medscreen.config.datasets import DatasetParams, MedMnistParams, PhantomParams


def is_public(dataset: DatasetParams) -> bool:
    """Whether pictures and names of files may go to MLflow: they show nobody, or were published for all to see.

    Of every other kind of source both may be patients'.
    """
    return isinstance(dataset, PhantomParams | MedMnistParams)
