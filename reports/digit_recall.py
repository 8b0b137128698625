"""Five handwritten digits, each seen once."""

from plastic_search.report.report import Report

REPORT = Report(study="digit_recall", title="Five handwritten digits, each seen once")
