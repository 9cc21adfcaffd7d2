"""Turns the raw data set into train, tune, val and test, and writes the audit."""

import json

from pydantic import TypeAdapter

from medscreen import sources
from medscreen.curation import curate as curate_records
from medscreen.images import SPLITS, load_images, save_images, set_digest
from medscreen.layout import Layout
from medscreen.outputs import replaced
from medscreen.params import DatasetParams, Params
from medscreen.stages.progress import progress
from medscreen.stages.running import run_stage


def curate(layout: Layout, params: Params) -> None:
    """Reads data/raw.json; writes data/curated/<split> and reports/curation.json."""
    raw = json.loads(layout.raw.read_text())
    settings: DatasetParams = TypeAdapter(DatasetParams).validate_python(raw["settings"])
    records = sources.read_records(settings, sources.root_of(settings, layout.workspace))
    layout.curated("").mkdir(parents=True, exist_ok=True)
    # always the same name: what a kill leaves, the next run takes over and removes
    scratch = layout.curated(".decoded")
    try:
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
        for split in SPLITS:
            with replaced(layout.curated(split)) as partial:
                save_images(curated.images, curated.splits[split], partial)
            curated.audit["splits"][split]["digest"] = set_digest(load_images(layout.curated(split)))
    finally:
        scratch.unlink(missing_ok=True)
    with replaced(layout.curation_report) as partial:
        report = {"dataset": raw["dataset"], "source_notes": records.notes, **curated.audit}
        partial.write_text(json.dumps(report, indent=1))
    for what, number in records.notes.items():
        print(f"noted: {number} {what}")
    audit = curated.audit
    print(
        f"{audit['records']} records: {len(audit['quarantined'])} quarantined, "
        f"{audit['exact_copies']['dropped']} exact copies dropped; "
        + ", ".join(f"{name} {counts['images']}" for name, counts in audit["splits"].items())
    )


if __name__ == "__main__":
    run_stage("curate", curate)
