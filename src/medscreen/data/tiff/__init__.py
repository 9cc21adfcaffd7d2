"""TIFF: pages, and sample formats that Pillow does not read."""
