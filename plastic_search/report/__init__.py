"""From records to pages: statistics, verdicts, figures, HTML. No torch."""
