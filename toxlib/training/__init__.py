"""Train a classifier by a recipe and predict with it, on the machine at hand.

This wing uses `longformer`, `data` and `evaluation`. It takes texts, arrays and folders and does
not know how a run folder is laid out. Start with `finetune.py`; `trainer.py` has the step.
"""
