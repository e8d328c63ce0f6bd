"""A finished run in use: score new texts, one by one or in files of any size, and explain scores.

This wing imports from `runs` and the wings below it. Start with `predictor.py`, which has
`toxlib.load`; `score_files.py` is the command `predict`.
"""
