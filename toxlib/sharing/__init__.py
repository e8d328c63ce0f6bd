"""Hand a finished run on: a model card, a folder that `toxlib.load` reads anywhere, a graph.

This wing imports from `reports`, `scoring`, `runs` and the wings below them. Start with
`portable.py`; `card.py` writes the model card, `export.py` folders that need no torch.
"""
