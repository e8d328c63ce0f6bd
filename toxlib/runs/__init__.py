"""Run folders: which run owns one, how its folds are trained, and how runs are blended.

This wing and those that work on finished runs know the layout of a run folder. It uses
`longformer`, `data`, `evaluation` and `training`. Start with `run.py`; `folds.py` trains, and
`blending.py` combines runs.
"""
