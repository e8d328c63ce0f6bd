"""Run folders: which run owns one, what lies in it, and which folds are finished.

This is the only wing that knows the layout of a run folder. It uses all the wings below it. Start
with `run.py`; `folds.py` trains, `blending.py` combines runs, `predictor.py` loads a finished run.
"""
