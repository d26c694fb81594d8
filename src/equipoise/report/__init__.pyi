from .pages import write_report as write_report
from .summary import write_summary as write_summary
from .terminal import print_table as print_table
