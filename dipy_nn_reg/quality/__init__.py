"""Quality of registrations: measures, verdicts and HTML reports."""
