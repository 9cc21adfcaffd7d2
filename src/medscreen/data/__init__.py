"""Images: sources, display gray, duplicates and splits."""
