"""Multilabel text classification: from Kaggle's CSV files to a submission and a model in use.

The numbered notebooks tell the story and call this package. Its subpackages are called wings. Each
public name below is imported when it is first used, so that `import toxlib` takes milliseconds.

Letters in the shapes of arrays mean the same in the whole package:

* N comments (rows of a table; n and m for some of them), L labels, K parts (with folds, a part
  is a fold), M models of a blend, R resamples, V features of a linear model;
* B comments in a batch, T tokens of the longest of them, U tokens of all of them without padding,
  S comments of the same length that are computed together, C hidden size, H attention heads,
  D size of a head, G global tokens of a comment, P global tokens of a batch.
"""

import importlib

PUBLIC = {
    "InputError": "toxlib.errors",
    "LongformerForMultiLabelSequenceClassification": "toxlib.longformer.model",
    "RECIPES": "toxlib.recipes",
    "Recipe": "toxlib.recipe_values",
    "Run": "toxlib.runs.run",
    "Scorer": "toxlib.scoring.predictor",
    "get_recipe": "toxlib.recipes",
    "load": "toxlib.scoring.predictor",
    "open_run": "toxlib.runs.run",
    "register": "toxlib.longformer.heads",
    "reopen": "toxlib.runs.run",
}
__all__ = list(PUBLIC)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'toxlib' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
