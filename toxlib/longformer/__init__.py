"""The model: a Longformer with one logit per label that computes almost nothing for padding.

Its functions take and return tensors. It needs only torch and transformers and imports no other
wing. Start with `model.py`; `unpad.py` and `attention.py` make it fast.
"""
