"""What a reader sees of a comparison: the page, the summary file, the terminal's tables."""

from equipoise.report.page import write_report
from equipoise.report.summary import write_summary
from equipoise.report.terminal import print_table

__all__ = ["print_table", "write_report", "write_summary"]
