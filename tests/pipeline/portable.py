"""Scores a project's curated images by its registered detector, as someone does who has nothing but MLflow.

python portable.py PROJECT: exit status 0 if models:/phantom-detector/Production, loaded without torch and without
medscreen, gives the scores that the pipeline saved.
"""

import importlib.abc
import json
import sys
from pathlib import Path


class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):  # noqa: ARG002
        if name.split(".")[0] in {"torch", "torchvision", "medscreen"}:
            raise ImportError(f"{name} is blocked")


def main(project: Path) -> None:
    sys.meta_path.insert(0, Blocker())
    import mlflow
    import numpy as np
    import pyarrow.parquet as pq

    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlruns' / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/phantom-detector/Production")
    promoted = json.loads((project / "reports" / "promotion.json").read_text())["promoted"]["detector"]
    images = np.load(project / "data" / "curated" / "test" / "images.npy")
    table = project / "reports" / "predictions" / f"{promoted}.parquet"
    expected = pq.read_table(table, filters=[("split", "==", "test")])
    images = np.resize(images, (1000, *images.shape[1:]))[:, None]
    for batch in (1, 7, 1000):
        predictions = model.predict(images[:batch])
        for output in ("score", "p_value", "probability", "abnormal", "deferred"):
            column = np.resize(expected[output].to_numpy().astype(float), 1000)[:batch]
            np.testing.assert_allclose(np.asarray(predictions[output], float), column, atol=1e-5, err_msg=output)
    for height, width in ((28, 28), (224, 200), (17, 300)):
        other = np.random.default_rng(0).integers(0, 256, (2, 1, height, width), dtype=np.uint8)
        assert np.isfinite(model.predict(other)["score"]).all()
    for wrong in (images[:2].astype(np.float32) / 255, (images[:2] / 255).astype(np.uint8)):
        try:
            model.predict(wrong)
        except Exception as refusal:
            print("refused:", " ".join(str(refusal).split())[:90])
        else:
            raise AssertionError("floats in 0 to 1 were answered")
    assert "torch" not in sys.modules
    print("portable")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
