"""Measurements: how fast training and scoring are, and what each choice of a recipe is worth.

This wing may import all others; only the command line imports it. Start with `speed.py`,
`peers.py` (other libraries) or `ablation.py`.
"""
