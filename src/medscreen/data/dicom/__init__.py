"""DICOM: from a file to values and to display gray."""
