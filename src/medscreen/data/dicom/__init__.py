"""DICOM: from files to stored values and to display gray."""
