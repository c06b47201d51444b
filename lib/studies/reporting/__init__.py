"""From run folders to tables, figures, verdicts and pages."""
