"""Adapt the encoder of a run to its comments: once, before the folds are trained."""

from pathlib import Path

from toxlib import files
from toxlib.recipe_values import Recipe
from toxlib.runs.run import Run
from toxlib.training import adaptation

ADAPTED = "adapted"
"""The subfolder of a run folder with adapted encoders. Finished runs do not need it."""


def adapted_recipe(run: Run) -> Recipe:
    """Return the recipe to train the folds by: its checkpoint is the adapted encoder.

    The encoder is adapted to the comments of train and test, without their labels, unless that is
    done. If the recipe value `adapt_epochs` is 0, the checkpoint is the recipe's own.
    """
    recipe = run.training_recipe
    if recipe.adapt_epochs == 0:
        return recipe
    texts = [*run.train_texts, *run.test_texts]
    return adaptation.adapted_recipe(recipe, texts, run.path(ADAPTED))


def adaptation_result(recipe: Recipe) -> dict:
    """Return how well the encoder predicts hidden words, and the seconds of its adaptation.

    Args:
        recipe: from `adapted_recipe`.

    Returns:
        {"before": scores, "after": scores, "seconds": seconds, …}, where scores are the loss per
        hidden token of held-out comments, and the share of these tokens that is predicted.
    """
    path = Path(recipe.checkpoint) / adaptation.RESULT
    return files.read_json(path, f"delete {path.parent} and run 03_train again")
