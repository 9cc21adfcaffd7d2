"""Similar cases: the training images nearest to an image in the feature space of the detector.

Features are those of the domain check (`operating.domain_nodes`), standardized and projected onto at most 128 principal
axes of the training images by nodes of the packaged graph; the distance is Euclidean. An index holds features, labels
and keyed hashes of file names, never pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medscreen.data.images import Pixels
from medscreen.errors import MedscreenError
from medscreen.operating.domain_nodes import EMBEDDING
from medscreen.operating.graph_values import part_for
from medscreen.packaging.packaged_detector import open_session, run_on_images
from medscreen.packaging.predictions import EMBEDDING_COLUMN
from medscreen.workspace.keyed_names import keyed_name

NO_EMBEDDING = "the detector has no feature vector to compare images by"
_AGAIN = "Run `dvc repro --force publish` while the version's files are in the workspace"
_COLUMNS = ("name", "label", "image", "embedding")


@dataclass(frozen=True)
class Case:
    """Training image near an image: keyed name, label (0 normal, 1 abnormal), digest and distance."""

    name: str
    label: int
    image: str
    distance: float


@dataclass(frozen=True)
class CaseIndex:
    """Index of N training images: `embeddings` (N, D), `labels` (N,), keyed `names`, digests `images`."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: Sequence[str]
    images: Sequence[str]

    def nearest(self, embedding: NDArray[np.float32], label: int, number: int) -> list[Case]:
        """The `number` nearest images of a label, nearest first; identical images are included."""
        of_label = np.flatnonzero(self.labels == label)
        distances = np.linalg.norm(self.embeddings[of_label] - embedding, axis=1)
        order = np.argsort(distances, kind="stable")[:number]
        return [
            Case(self.names[i], label, self.images[i], float(distance))
            for i, distance in zip(of_label[order], distances[order], strict=True)
        ]


class Embedder:
    """Computes embeddings with a packaged graph that has features, in one ONNX Runtime session."""

    def __init__(self, graph: Path) -> None:
        self._session = open_session(part_for(onnx.load(graph), [EMBEDDING]).SerializeToString(), threads=1)

    def embed(self, pixels: Pixels) -> NDArray[np.float32]:
        """Embeddings (N, D) of images (N, S, S)."""
        found: NDArray[np.float32] = run_on_images(self._session, pixels, [EMBEDDING])[0]
        return found


def case_table(rows: pa.Table, images: Sequence[str], key: bytes) -> pa.Table | None:
    """Builds the index from the predictions on train and the digests of these images, in the same order.

    None if the predictions have no embeddings.
    """
    if EMBEDDING_COLUMN not in rows.column_names:
        return None
    return pa.table(
        {
            "name": [keyed_name(origin, key) for origin in rows["origin"].to_pylist()],
            "label": rows["label"],
            "image": list(images),
            "embedding": rows[EMBEDDING_COLUMN],
        }
    )


def read_cases(content: bytes) -> CaseIndex:
    """Reads an index from the content of its Parquet file; raises MedscreenError if it is damaged."""
    try:
        table = pq.read_table(pa.BufferReader(content), columns=list(_COLUMNS))
        flat = table["embedding"].combine_chunks().values.to_numpy(zero_copy_only=False)
        return CaseIndex(
            flat.astype(np.float32).reshape(table.num_rows, -1),
            table["label"].to_numpy().astype(np.int64),
            table["name"].to_pylist(),
            table["image"].to_pylist(),
        )
    except Exception as error:  # pyarrow raises many types for damaged files
        raise MedscreenError(f"The index of similar cases is damaged ({type(error).__name__}). {_AGAIN}.") from error
