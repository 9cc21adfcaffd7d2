"""What curation did, for people: a page with tables and pictures that stays local, an audit without names for all."""

from collections.abc import Mapping
from typing import Any

from medscreen.data.curation.curation import Curated
from medscreen.data.images import ImageSet
from medscreen.reporting.curation_page.audit_tables import report, warnings
from medscreen.reporting.curation_page.contact_sheets import contact_sheets, pair_sheet
from medscreen.reporting.curation_page.redaction import without_names
from medscreen.reporting.curation_page.split_shift import shift
from medscreen.reporting.pages.html_page import page

__all__ = ["curation_page", "shift", "warnings", "without_names"]


def curation_page(audit: Mapping[str, Any], curated: Curated, splits: Mapping[str, ImageSet]) -> str:
    """The page: `audit` as curation.json holds it, and pictures of the splits and of near copies."""
    sheets = dict(contact_sheets(splits))
    if len(curated.near):
        sheets["near"] = pair_sheet(curated.images.pixels, curated.near)
    return page(report(audit, sheets), f"Curation of {audit['dataset']}", sheets)
