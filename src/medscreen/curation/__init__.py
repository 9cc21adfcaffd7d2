"""From records to splits: read, deduplicated, cut by patient, audited."""

from medscreen.curation.audit import labels_taken
from medscreen.curation.curate import Curated, curate
from medscreen.curation.near import Pairs
from medscreen.curation.people import person
from medscreen.curation.rare import without_rare_values

__all__ = ["Curated", "Pairs", "curate", "labels_taken", "person", "without_rare_values"]
