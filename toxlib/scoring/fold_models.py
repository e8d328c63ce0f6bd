"""The models of a run, one per fold, loaded and ready to score texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from toxlib.data import text, tokens
from toxlib.evaluation.cascade import Cascade
from toxlib.evaluation.parts import average
from toxlib.runs.folds import LINEAR_FOLDER
from toxlib.runs.predictions import OWN
from toxlib.runs.record import read_record
from toxlib.runs.run import fold_folders
from toxlib.training.checkpoints import load_trained
from toxlib.training.inference import predict_probabilities, prediction_values
from toxlib.training.linear import LINEAR, LinearModels
from toxlib.training.machine import default_device
from toxlib.training.occlusion import MASKED


class FoldModels:
    """Each fold's models: the encoder and, if a blend or a cascade needs them, linear models."""

    def __init__(self, folder: Path, with_linear: bool, cascade: Cascade | None, fold: int | None):
        """Load the models of all folds, or of one fold alone."""
        self.recipe, self.cascade, self.skipped = read_record(folder)["recipe"], cascade, 0
        folders = fold_folders(folder, self.recipe)
        folders = folders if fold is None else folders[fold : fold + 1]
        loaded = [load_trained(path / "model") for path in folders]
        self.encoders = [(model.to(default_device()), tokenizer) for model, tokenizer in loaded]
        with_linear = with_linear or cascade is not None
        self.linear = [LinearModels.load(path / LINEAR_FOLDER) for path in folders if with_linear]
        self.label_names = list(loaded[0][0].config.id2label.values())

    def predict(
        self, texts: Sequence[str], bar: tqdm, explained: bool = False
    ) -> dict[str, np.ndarray]:
        """Return {name of the predictions: probabilities, (N, L), averaged over the folds}."""
        texts = text.prepare(texts, self.recipe.clean_spelling)
        for_linear = [t.replace(MASKED, " ") for t in texts] if explained else texts
        by_fold = [models.predict(for_linear) for models in self.linear]
        linear = {n: average([scores[n] for scores in by_fold]) for n in LINEAR if by_fold}
        if self.cascade is None:
            return {OWN: self._encode(texts, bar, explained), **linear}
        cheap = average(linear.values())
        skips, own = self.cascade.skips(cheap), self.cascade.to_costly_scale(cheap)
        own[~skips] = self._encode([texts[row] for row in np.flatnonzero(~skips)], bar)
        self.skipped = int(skips.sum())
        bar.update(self.skipped * len(self.encoders))
        return {OWN: own}

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the encoder of a fold reads of each text, (N,)."""
        tokenizer, how = self.encoders[0][1], self.recipe.long_texts
        ids = tokens.encode(text.prepare(texts, self.recipe.clean_spelling), tokenizer, how)
        return [len(row) for row in ids]

    def _encode(self, texts: list[str], bar: tqdm, explained: bool = False) -> np.ndarray:
        """Return the encoders' probabilities, (n, L), averaged over the folds."""
        how, mask = prediction_values(self.recipe), self.encoders[0][1].mask_token or " "
        if explained:
            how["precision"], texts = "fp32", [t.replace(MASKED, mask) for t in texts]
        return average(predict_probabilities(*e, texts, bar=bar, **how) for e in self.encoders)
