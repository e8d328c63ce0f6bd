"""Multilabel text classification: from Kaggle's CSV files to a submission.

The notebooks tell the story; what they call stands here. `open_run` is where each begins.
"""

from toxlib.errors import InputError
from toxlib.heads import register
from toxlib.model import LongformerForMultiLabelSequenceClassification
from toxlib.recipes import RECIPES, Recipe, get_recipe
from toxlib.run import Run, open_run, write_json

__all__ = [
    "RECIPES",
    "InputError",
    "LongformerForMultiLabelSequenceClassification",
    "Recipe",
    "Run",
    "get_recipe",
    "open_run",
    "register",
    "write_json",
]
