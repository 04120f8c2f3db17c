"""What a run tells its user: the report's page, its figures, and the exported network's card."""

from nasgen.report.markdown import write_report

__all__ = ["write_report"]
