"""Quality of a registration: measures, verdicts and pages."""
