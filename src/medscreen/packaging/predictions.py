"""Predictions of a packaged detector as a table: one row per image, with the digest of its graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medscreen.data.images import ImageSet
from medscreen.packaging.packaged_detector import Screening
from medscreen.workspace.atomic_outputs import replaced

PREDICTED_BY = b"medscreen.packaged_digest"
"""Metadata key of the table for the digest of the packaged detector."""
EMBEDDING_COLUMN = "embedding"
"""Column of the detector's features of an image, as float16."""
_OF_FINDING = "probability of "


def prediction_rows(split: str, images: ImageSet, screening: Screening, findings: Sequence[str]) -> pa.Table:
    """Rows of a split: outputs of `Screening` with split, origin, patient and label of the image."""
    columns = {
        "split": [split] * len(images),
        "origin": list(images.origins),
        "patient": images.patients,
        "label": images.labels.astype(np.int8),
        "score": screening.score,
        "p_value": screening.p_value,
        "probability": screening.probability,
        "abnormal": screening.abnormal,
        "deferred": screening.deferred,
    }
    if screening.in_domain is not None:
        columns["in_domain"] = screening.in_domain
    if screening.findings is not None:
        columns |= {f"{_OF_FINDING}{name}": screening.findings[:, number] for number, name in enumerate(findings)}
    return pa.table(columns)


def with_embeddings(rows: pa.Table, embeddings: NDArray[np.float32]) -> pa.Table:
    """The rows with a column of embeddings (N, D)."""
    flat = pa.array(embeddings.astype(np.float16).ravel())
    return rows.append_column(EMBEDDING_COLUMN, pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]))


def class_probabilities(rows: pa.Table) -> np.ndarray | None:
    """(N, K) class probabilities; None for a detector without findings."""
    columns = [rows[name].to_numpy() for name in rows.column_names if name.startswith(_OF_FINDING)]
    return np.stack(columns, 1).astype(np.float64) if columns else None


def save_predictions(rows: pa.Table, path: Path, digest: str, about: Mapping[bytes, bytes] | None = None) -> None:
    """Writes a table with page checksums, the digest of its packaged detector and other metadata `about`."""
    stated = {PREDICTED_BY: digest.encode(), **(about or {})}
    with replaced(path) as partial:
        pq.write_table(rows.replace_schema_metadata(stated), partial, write_page_checksum=True)


def predicted_by(path: Path) -> str:
    """Digest of the packaged detector in a table's metadata; "" if the table or the digest is missing."""
    try:
        stated: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
        return stated.get(PREDICTED_BY, b"").decode()
    except (OSError, ValueError):  # pyarrow's exceptions are subclasses of both
        return ""
