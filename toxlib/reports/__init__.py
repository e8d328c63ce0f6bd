"""What is told about finished runs: the report of one, comparisons of several, audits.

This wing imports from `scoring`, `runs` and the wings below them. Start with `report.py`, which
joins a run's notebooks into a page, or with `comparison.py`.
"""
