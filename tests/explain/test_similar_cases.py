"""Similar cases: nearest training images by a packaged graph's own features."""

from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from medscreen.data.images import load_images
from medscreen.errors import MedscreenError
from medscreen.explain.similar_cases import CaseIndex, case_table, embed, read_cases
from medscreen.workspace.layout import Layout

KEY = b"k" * 32
INDEX = CaseIndex(
    np.array([[0, 0], [3, 4], [0, 1], [0, 0]], np.float32), np.array([0, 0, 1, 0]), ["a", "b", "c", "d"], list("wxyz")
)


def test_the_nearest_images_of_a_label_come_by_distance_and_equal_ones_in_order() -> None:
    found = INDEX.nearest(np.zeros(2, np.float32), label=0, number=2)
    assert [(case.name, case.image, case.distance) for case in found] == [("a", "w", 0.0), ("d", "z", 0.0)]
    (abnormal,) = INDEX.nearest(np.zeros(2, np.float32), label=1, number=5)
    assert (abnormal.name, abnormal.label, abnormal.distance) == ("c", 1, 1.0)


def test_an_index_comes_back_and_holds_no_name_and_no_pixel(workspace: Layout, tmp_path: Path) -> None:
    train = load_images(workspace.curated("train"))
    embeddings = np.random.default_rng(7).normal(size=(len(train), 5)).astype(np.float32)
    path = tmp_path / "similar_cases.parquet"
    pq.write_table(case_table(embeddings, train, KEY), path)
    index = read_cases(path)
    np.testing.assert_allclose(index.embeddings, embeddings, atol=2e-3)
    assert index.labels.tolist() == train.labels.tolist()
    assert list(index.images) == list(train.digests)
    assert not any(origin.encode() in path.read_bytes() for origin in train.origins)
    assert set(pq.read_schema(path).names) == {"name", "label", "image", "embedding"}
    other = case_table(embeddings, train, b"o" * 32)
    assert other["name"].to_pylist() != list(index.names)


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet PAR1"])
def test_a_damaged_index_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "similar_cases.parquet"
    path.write_bytes(content)
    with pytest.raises(MedscreenError, match=r"similar_cases\.parquet: damaged"):
        read_cases(path)


def test_a_detector_without_features_has_no_embedding(workspace: Layout) -> None:
    package = onnx.load(workspace.packaged("corner"))
    assert embed(package, load_images(workspace.curated("val")).pixels, 1) is None
