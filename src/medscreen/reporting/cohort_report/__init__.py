"""Cohort report: the results of the whole roster on the active data set as one page."""
