"""Writes docs/parity.md: each notebook's figure, its recipe as written, as corrected, and medscreen's own detector.

make parity, or PYTHONPATH=benchmarks python -m parity --pneumoniamnist FOLDER [--seeds 7 8 9] [--only 001 ...]
FOLDER holds pneumoniamnist.npz. `test` is read here, for recipes that are fixed: nothing is chosen by these figures.
Figures are kept in figures.json recipe by recipe, so that a run that was ended goes on with --resume.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import torch
import yaml
from data_sets import curated
from detectors import ROSTER, figures, read_roster

from medscreen.config.params import Params, load_params
from medscreen.data.images import SPLITS, ImageSet
from parity import as_written

NOTEBOOKS = Path(__file__).with_name("notebooks.yaml")
FIGURES = Path(__file__).with_name("figures.json")
TEMPLATE = Path(__file__).with_name("page.md.j2")
PAGE = Path("docs/parity.md")


def main() -> int:
    """Runs the recipes and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pneumoniamnist", type=Path, default=Path("~/.medmnist").expanduser(), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="measure these; the others keep their figures")
    parser.add_argument("--resume", action="store_true", help="measure only the recipes that figures.json lacks")
    arguments = parser.parse_args()
    file = arguments.pneumoniamnist / "pneumoniamnist.npz"
    if not file.is_file():
        parser.error(f"{file} is not there; name the folder of MedMNIST's file with --pneumoniamnist")
    torch.set_num_threads(1)
    comparison = Comparison(load_params(Path("params.yaml")), file, arguments.seeds)
    content = yaml.safe_load(NOTEBOOKS.read_text())
    kept = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    for recipe in content["recipes"]:
        named = arguments.only is None or recipe["notebook"] in arguments.only
        if named and not (arguments.resume and title(recipe) in kept):
            kept[title(recipe)] = comparison.measured(recipe)
            FIGURES.write_text(json.dumps(kept, indent=2) + "\n")
    environment = jinja2.Environment(  # noqa: S701  # Markdown of our own figures: nothing to escape
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"mean": statistics.fmean, "deviation": statistics.pstdev}
    template = environment.from_string(TEMPLATE.read_text())
    rows = [(recipe, kept[title(recipe)]) for recipe in content["recipes"] if title(recipe) in kept]
    PAGE.write_text(template.render(rows=rows, defects=content["defects"], title=title))
    return 0


def title(recipe: Mapping[str, Any]) -> str:
    """A recipe's name in the table and in figures.json."""
    return f"{recipe['notebook']} {recipe['recipe']}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """The recipes on data sets of `params`; `file` is PneumoniaMNIST. What several recipes share is computed once."""

    params: Params
    file: Path
    seeds: list[int]

    def measured(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's figures: accuracy as written for each seed, and its two entries under the protocol."""
        data = recipe["data"], recipe.get("image_size")
        seeds = self.seeds if "as_written" in recipe else []
        found = {
            "as_written": {str(seed): self.as_written(recipe, seed) for seed in seeds},
            "corrected": self.by_protocol(recipe["corrected"], *data),
            "here": self.by_protocol(recipe["here"], *data),
        }
        print(title(recipe), found, flush=True)
        return found

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
    def by_protocol(self, entry: str, data: str, image_size: int | None) -> dict[str, float]:
        """Figures on test of an entry of the roster, at its threshold of val."""
        found = figures(read_roster(ROSTER)[entry], self.params, self.seeds[0], self.splits(data, image_size))
        balanced, false_alarms = found["test balanced acc."], found["test false alarms"]
        return {
            "auroc": found["test AUROC"],
            "balanced_accuracy": balanced,
            "false_alarms": false_alarms,
            "missed": 2 - 2 * balanced - false_alarms,
        }


if __name__ == "__main__":
    sys.exit(main())
