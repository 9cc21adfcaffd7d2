"""Stage curate: splits the data set into train, tune, val and test, and writes the audit and its page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from medscreen.config.datasets import DatasetParams
from medscreen.config.params import Params
from medscreen.config.privacy import is_public
from medscreen.data.curation.audit import labels_taken
from medscreen.data.curation.curation import Curated
from medscreen.data.curation.curation import curate as curate_records
from medscreen.data.curation.small_cells import without_rare_values
from medscreen.data.images import SPLITS, TEST, load_images, open_test_split, save_images, set_digest
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.lesion_masks import lesion_masks
from medscreen.pipeline.progress_bar import progress
from medscreen.pipeline.stage_runner import run_stage
from medscreen.reporting.curation_page.page import curation_page, warnings
from medscreen.reporting.curation_page.redaction import without_names
from medscreen.reporting.curation_page.split_shift import shift
from medscreen.runtime.escaping import say
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import Layout


def curate(layout: Layout, params: Params) -> None:
    """Reads data/raw.json; writes data/curated, data/curation.{json,html} and reports/curation.json."""
    raw = json.loads(layout.raw.read_text())
    settings: DatasetParams = TypeAdapter(DatasetParams).validate_python(raw["settings"])
    layout.development.mkdir(parents=True, exist_ok=True)
    # a fixed name: the next run overwrites and removes the file of a killed one
    scratch = layout.development.with_name(".decoded")
    try:
        audit = _save(layout, _curated(layout, settings, params, scratch), settings, raw["dataset"], params.seed)
    finally:
        scratch.unlink(missing_ok=True)
    # this file goes to git and MLflow, and file names of a hospital may hold names of patients
    published = audit if is_public(settings) else without_names(audit, layout.names_key)
    with replaced(layout.curation_report) as partial:
        partial.write_text(json.dumps(published, indent=1))
    _tell(audit)


def _curated(layout: Layout, settings: DatasetParams, params: Params, scratch: Path) -> Curated:
    """The curated data set; frees the records, which take more memory, on return."""
    records = sources.read_records(settings, sources.root_of(settings, layout.workspace))
    with progress("reading images", len(records)) as advance:
        curated = curate_records(
            records,
            settings.image_size,
            params.curation,
            params.seed,
            params.compute.threads,
            scratch,
            lambda: advance(""),
        )
    return curated if is_public(settings) else without_rare_values(curated)


def _tell(audit: Mapping[str, Any]) -> None:
    """Prints counts, labels, skipped inputs and warnings, without file names."""
    say(
        f"{audit['records']} records: {len(audit['quarantined'])} quarantined, "
        f"{audit['exact_duplicates']['dropped']} exact duplicates dropped, "
        f"{audit['near_duplicates']['pairs']} near duplicates found; "
        + ", ".join(f"{name} {counts['images']}" for name, counts in audit["splits"].items())
    )
    for found in audit["labels"]:
        say(f"  label {found['label']!r} is {found['taken_as']}: {found['images']} images")
    for what, number in audit["source_notes"].items():
        say(f"  note: {number} {what}")
    for warning in warnings(audit):
        say(f"  note: {warning}")


def _save(layout: Layout, curated: Curated, settings: DatasetParams, dataset: str, seed: int) -> dict[str, Any]:
    """Writes the splits, the page and the audit with file names; returns the audit."""
    for split in SPLITS:
        with replaced(layout.curated(split)) as partial:
            save_images(curated.images, curated.splits[split], partial, split)
            masks = (
                None
                if split != TEST
                else lesion_masks(settings, [curated.images.origins[i] for i in curated.splits[TEST]])
            )
            if masks is not None:  # `evaluate` tests the explanation maps against them
                np.save(partial / layout.lesion_masks.name, masks)
    with open_test_split():
        splits = {split: load_images(layout.curated(split)) for split in SPLITS}
    for split, images in splits.items():
        curated.audit["splits"][split]["digest"] = set_digest(images)
    labels = labels_taken(list(splits.values()))
    audit = {"dataset": dataset, **curated.audit, "labels": labels, "shift": shift(splits["val"], splits["test"], seed)}
    with replaced(layout.curation_page) as partial:
        partial.write_text(curation_page(audit, curated, splits))
    with replaced(layout.named_curation) as partial:
        partial.write_text(json.dumps(audit, indent=1))
    return audit


if __name__ == "__main__":
    run_stage("curate", curate)
