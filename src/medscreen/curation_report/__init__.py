"""What curation did, for people: a page with tables and pictures that stays local, an audit without names for all."""

from collections.abc import Mapping
from typing import Any

from medscreen.curation import Curated
from medscreen.curation_report.content import report, warnings
from medscreen.curation_report.names import without_names
from medscreen.curation_report.sheets import contact_sheets, pair_sheet
from medscreen.curation_report.shift import shift
from medscreen.images import ImageSet
from medscreen.pages import page

__all__ = ["curation_page", "shift", "warnings", "without_names"]


def curation_page(audit: Mapping[str, Any], curated: Curated, splits: Mapping[str, ImageSet]) -> str:
    """The page: `audit` as curation.json holds it, and pictures of the splits and of near copies."""
    sheets = dict(contact_sheets(splits))
    if len(curated.near):
        sheets["near"] = pair_sheet(curated.images.pixels, curated.near)
    return page(report(audit, sheets), f"Curation of {audit['dataset']}", sheets)
