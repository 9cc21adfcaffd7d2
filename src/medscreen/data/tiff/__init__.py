"""TIFF in the sample formats that Pillow does not read, and its pages."""
