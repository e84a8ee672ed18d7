"""Scores from files: predictions and references in, an assessment out. Needs numpy alone."""
