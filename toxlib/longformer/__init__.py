"""The model: encoders with one logit per label that compute almost nothing for padding.

Its functions take and return tensors. It needs only torch and transformers and imports no other
wing. Start with `model.py`, our Longformer, or with `encoders.py`, which runs transformers' BERT,
RoBERTa and others; `unpad.py` and `attention.py` make both fast.
"""
