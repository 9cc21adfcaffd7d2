"""Cohort report: HTML page on the results of all detectors on the active data set."""
