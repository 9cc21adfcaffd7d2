"""HTML page on curation: kept and dropped images, splits and warnings."""
