"""Writes docs/parity.md: each notebook's figure, its recipe as written, as corrected, and medscreen's own detector.

make parity, or PYTHONPATH=benchmarks python -m parity --pneumoniamnist FOLDER [--seeds 7 8 9]
FOLDER holds pneumoniamnist.npz. `test` is read here, for recipes that are fixed: nothing is chosen by these figures.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
import yaml
from data_sets import curated
from detectors import ROSTER, figures, read_roster

from medscreen.config.params import Params, load_params
from medscreen.data.images import SPLITS, ImageSet
from parity import as_written

NOTEBOOKS = Path(__file__).with_name("notebooks.yaml")
TEMPLATE = Path(__file__).with_name("page.md.j2")
PAGE = Path("docs/parity.md")


def main() -> int:
    """Runs the recipes and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pneumoniamnist", type=Path, default=Path("~/.medmnist").expanduser(), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    arguments = parser.parse_args()
    file = arguments.pneumoniamnist / "pneumoniamnist.npz"
    if not file.is_file():
        parser.error(f"{file} is not there; name the folder of MedMNIST's file with --pneumoniamnist")
    torch.set_num_threads(1)
    comparison = Comparison(load_params(Path("params.yaml")), file, arguments.seeds)
    content = yaml.safe_load(NOTEBOOKS.read_text())
    rows = [comparison.row(recipe) for recipe in content["recipes"]]
    template = jinja2.Template(TEMPLATE.read_text(), trim_blocks=True, keep_trailing_newline=True)
    PAGE.write_text(template.render(rows=rows, defects=content["defects"], seeds=arguments.seeds))
    return 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """The recipes on data sets of `params`; `file` is PneumoniaMNIST. What several recipes share is computed once."""

    params: Params
    file: Path
    seeds: list[int]

    def row(self, recipe: Mapping[str, Any]) -> list[str]:
        """A recipe's cells of the table, printed as soon as they are there."""
        data = recipe["data"], recipe.get("image_size")
        written = [self.as_written(recipe, seed) for seed in self.seeds] if "as_written" in recipe else []
        cells = [
            f"{recipe['notebook']} {recipe['recipe']}",
            {"phantom": "phantom", "pneumoniamnist": "PneumoniaMNIST"}[recipe["data"]],
            f"{recipe['printed']:.3f}" if "printed" in recipe else "-",
            f"{np.mean(written):.3f} ({np.std(written):.3f})" if written else "-",
            self.by_protocol(recipe["corrected"], *data),
            self.by_protocol(recipe["here"], *data),
            recipe["defect"],
        ]
        print(*cells[:-1], sep=" | ", flush=True)
        return cells

    def as_written(self, recipe: Mapping[str, Any], seed: int) -> float:
        """Accuracy on test of a recipe with its defects."""
        run = getattr(as_written, recipe["as_written"])
        if recipe["as_written"] == "random_neighbors":
            return float(run(seed))
        splits = self.splits(recipe["data"], recipe.get("image_size"))
        return float(run(splits if recipe["data"] == "phantom" else self.file, seed))

    @cache  # noqa: B019  # one object a run
    def splits(self, data: str, image_size: int | None) -> dict[str, ImageSet]:
        """The splits of a data set as medscreen cuts them."""
        changes = {"image_size": image_size} if image_size else {"root": str(self.file.parent)}
        settings = self.params.datasets[data].model_copy(update=changes)
        with tempfile.TemporaryDirectory() as scratch:
            found = curated(settings, self.params, self.params.seed, Path(scratch))
            return {name: found.split(name) for name in SPLITS}

    @cache  # noqa: B019  # one object a run
    def by_protocol(self, entry: str, data: str, image_size: int | None) -> str:
        """The figures of an entry of the roster."""
        found = figures(read_roster(ROSTER)[entry], self.params, self.seeds[0], self.splits(data, image_size))
        balanced, false_alarms = found["test balanced acc."], found["test false alarms"]
        missed = 2 - 2 * balanced - false_alarms
        return f"`{entry}`: {found['test AUROC']:.3f}; {balanced:.3f}; {false_alarms:.3f} and {missed:.3f}"


if __name__ == "__main__":
    sys.exit(main())
