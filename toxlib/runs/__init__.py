"""Run folders: who owns one, what lies in it, and what was finished.

This is the only wing that knows folders and file names. It uses all the wings below it. Start
with `run.py`; `folds.py` trains, `blending.py` combines runs, `predictor.py` loads a finished run.
"""
