"""From records to splits: read, deduplicated, cut by patient, audited."""

from medscreen.curation.curate import Curated, curate
from medscreen.curation.near import Pairs
from medscreen.curation.people import person

__all__ = ["Curated", "Pairs", "curate", "person"]
