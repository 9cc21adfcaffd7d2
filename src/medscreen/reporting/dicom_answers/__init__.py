"""DICOM answers: a Structured Report and Secondary Captures in the study of the screened image."""
