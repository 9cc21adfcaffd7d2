"""The page on what curation kept, dropped and split."""
