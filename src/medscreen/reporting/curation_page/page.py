"""Curation page with tables and pictures, which is never logged or committed; templates hold its text."""

from collections.abc import Collection, Mapping
from typing import Any

from medscreen.config.privacy import OTHER
from medscreen.data.curation.curation import Curated
from medscreen.data.images import SPLITS, ImageSet
from medscreen.reporting.curation_page.contact_sheets import PAIRS, contact_sheets, pair_sheet
from medscreen.reporting.pages.html_page import page
from medscreen.reporting.pages.markdown import render


def curation_page(audit: Mapping[str, Any], curated: Curated, splits: Mapping[str, ImageSet]) -> str:
    """Returns the HTML page: `audit` (content of curation.json), and pictures of splits and near duplicates."""
    sheets = dict(contact_sheets(splits))
    if len(curated.near):
        sheets["near"] = pair_sheet(curated.images.pixels, curated.near)
    return page(report(audit, sheets), f"Curation of {audit['dataset']}", sheets)


def report(audit: Mapping[str, Any], sheets: Collection[str]) -> str:
    """Returns the page as Markdown; `sheets`: names of the available pictures."""
    values = {"audit": audit, "warnings": warnings(audit), "sheets": sheets, "splits": SPLITS, "shown": PAIRS}
    return render("curation_page/curation_page.md.j2", **values)


def warnings(audit: Mapping[str, Any]) -> list[str]:
    """Markdown sentences on defects of the data that make results doubtful; empty without defects."""
    shared = {pair: found["exact_duplicates"] for pair, found in audit["leaks"].items() if found["exact_duplicates"]}
    text = render("curation_page/curation_warnings.md.j2", audit=audit, exact_shared=shared, other=OTHER)
    return [line.removeprefix("- ") for line in text.splitlines() if line]
