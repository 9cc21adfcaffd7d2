from pathlib import Path

from phantom_difficulty import aurocs

from factories import REPOSITORY
from medscreen.params import load_params


def test_statistics_say_little_the_autoencoder_more_the_cnn_most(tmp_path: Path) -> None:
    # smaller, easier and shorter than `make bench`, which keeps the ranges: here only the order counts
    params = load_params(REPOSITORY / "params.yaml")
    films = params.datasets["phantom"].model_copy(update={"image_size": 32, "patients": 700, "contrast": 5.0})
    detectors = {
        name: detector
        if detector.is_baseline
        else detector.model_copy(update={"training": detector.training.model_copy(update={"epochs": 12})})
        for name, detector in params.detectors.items()
    }
    params = params.model_copy(update={"datasets": {"phantom": films}, "detectors": detectors})
    found = aurocs(params, 3, tmp_path)
    weakest = max(value for name, value in found.items() if name.startswith("statistics") or name == "gradient")
    assert weakest < 0.65
    assert weakest + 0.05 < found["autoencoder"] < found["cnn"]
