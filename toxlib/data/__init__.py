"""From Kaggle's files to tokens: read and check the files, split the rows, tokenise, batch.

This wing imports from no other wing. Start with `kaggle.py`, which reads a folder of Kaggle's
files; `splits.py` decides which comments a model is trained on and judged on.
"""
