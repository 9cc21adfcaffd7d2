"""Curation: decoding, duplicates, splits by patient, and the audit."""
