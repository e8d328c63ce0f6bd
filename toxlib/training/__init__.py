"""Train a classifier by a recipe and predict with it, on the machine at hand.

This wing uses `longformer`, `data` and `evaluation`. It takes texts and arrays and knows no run
folder. Start with `finetune.py`; `trainer.py` holds the optimiser step.
"""
