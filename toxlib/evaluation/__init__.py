"""How good predictions are, and what is fitted on them: scores, intervals, thresholds, weights.

Arrays in, arrays out. Only `submission.py` reads and writes files, with the functions of
`toxlib.data`, the one wing that this wing imports. Start with `metrics.py` and `parts.py`.
"""
