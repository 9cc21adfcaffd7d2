"""The curation page, with tables and pictures, which stays local; its words are in the templates beside it."""

from collections.abc import Collection, Mapping
from typing import Any

from medscreen.config.privacy import OTHER
from medscreen.data.curation.curation import Curated
from medscreen.data.images import SPLITS, ImageSet
from medscreen.reporting.curation_page.contact_sheets import PAIRS, contact_sheets, pair_sheet
from medscreen.reporting.pages.html_page import page
from medscreen.reporting.pages.markdown import render


def curation_page(audit: Mapping[str, Any], curated: Curated, splits: Mapping[str, ImageSet]) -> str:
    """The HTML page: `audit` as curation.json holds it, and pictures of the splits and of near duplicates."""
    sheets = dict(contact_sheets(splits))
    if len(curated.near):
        sheets["near"] = pair_sheet(curated.images.pixels, curated.near)
    return page(report(audit, sheets), f"Curation of {audit['dataset']}", sheets)


def report(audit: Mapping[str, Any], sheets: Collection[str]) -> str:
    """The page as Markdown; `sheets`: the names of the pictures there are."""
    values = {"audit": audit, "warnings": warnings(audit), "sheets": sheets, "splits": SPLITS, "shown": PAIRS}
    return render("curation_page/curation_page.md.j2", **values)


def warnings(audit: Mapping[str, Any]) -> list[str]:
    """Sentences on what makes a result of these splits doubtful, for the terminal too; none where all is well."""
    shared = {pair: found["exact_duplicates"] for pair, found in audit["leaks"].items() if found["exact_duplicates"]}
    text = render("curation_page/curation_warnings.md.j2", audit=audit, exact_shared=shared, other=OTHER)
    return [line.removeprefix("- ") for line in text.splitlines() if line]
