"""Whether a model flags sentences because of the group of people that they name.

A sentence insults (1) or does not (0), and names one group. The background of a group are the
sentences that name other groups. The three AUCs are those of Borkan et al. 2019
(arXiv:1903.04561), "Nuanced metrics for measuring unintended bias".
"""

import numpy as np
import pandas as pd

from toxlib.evaluation.intervals import RESAMPLES, Ranked, to_interval
from toxlib.evaluation.parts import to_logits

RATE, TIMES, FOUND = "false-positive rate", "times the mean", "insults found"
AUCS = ("subgroup AUC", "BPSN AUC", "BNSP AUC")
"""Subgroup: of the group's sentences, do insults score higher than the rest? Background positive,
subgroup negative: low if the name alone raises scores. BNSP: low if the name alone lowers them."""
HIGH = 2.0
"""A false-positive rate of more than this many times the mean over the groups is reported."""


def margins(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how far each sentence is above the threshold of the label that is furthest above.

    (N, L) and (L,) → (N,), in logits. At 0 and above some label is given: the sentence is flagged.
    So one number stands for all labels, and rises with the decision that the run takes.
    """
    return (to_logits(probabilities) - to_logits(thresholds)).max(axis=1)


def identity_report(
    insulting: np.ndarray, scores: np.ndarray, groups: np.ndarray, templates: np.ndarray
) -> pd.DataFrame:
    """Return a row per group: rates, their ratio to the mean, and AUCs, with 95 % intervals.

    Intervals are in columns that end in " low" and " high". A resample draws templates, with all
    of their sentences, because an interval should cover what other sentences would have shown.

    Args:
        insulting: 1 if the sentence insults, else 0, (N,).
        scores: (N,); from 0 on, a sentence is flagged.
        groups: the group that the sentence names, (N,).
        templates: the sentence without the group's name, (N,).
    """
    names, group = pd.factorize(np.asarray(groups, dtype=object))[::-1]
    weights = _weights(templates)
    flagged, insults = scores >= 0, insulting == 1
    of_name = [group == g for g in range(len(names))]
    rates = np.stack([_share(flagged, own & ~insults, weights) for own in of_name])  # (G, 1 + R)
    times = _ratio_to_mean(rates)
    rows = []
    for g, own in enumerate(of_name):
        row = {"sentences": int(own.sum())} | _columns(RATE, rates[g]) | _columns(TIMES, times[g])
        row |= _columns(FOUND, _share(flagged, own & insults, weights))
        for name, auc in _aucs(insults, scores, own, weights).items():
            row |= _columns(name, auc)
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(names, name="group"))


def _weights(templates: np.ndarray) -> np.ndarray:
    """Return the weights of all sentences and of those of each resample, (N, 1 + R)."""
    number, names = pd.factorize(np.asarray(templates, dtype=object))
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    drawn = np.vstack([np.ones((1, len(names))), drawn])  # (1 + R, templates)
    return drawn.T[number]


def _share(flagged: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of `rows` that is flagged, (1 + R,); NaN where no row is drawn."""
    drawn = weights[rows]
    with np.errstate(invalid="ignore"):
        return flagged[rows] @ drawn / drawn.sum(axis=0)


def _ratio_to_mean(rates: np.ndarray) -> np.ndarray:
    """Divide rates, (G, 1 + R), by their mean over the groups; NaN if the first mean is 0.

    In a resample in which nothing is flagged all groups are alike, so their ratio is 1. If such
    resamples were left out, the interval would not show that few sentences are flagged.
    """
    mean = pd.DataFrame(rates).mean().to_numpy()
    alike = np.where(np.isnan(rates), np.nan, 1.0)
    alike[:, 0] = np.nan
    return np.divide(rates, mean, out=alike, where=mean > 0)


def _aucs(
    insults: np.ndarray, scores: np.ndarray, own: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the three AUCs of the group whose sentences are `own`, (N,): (1 + R,) each."""
    chosen = (own, own & ~insults | ~own & insults, own & insults | ~own & ~insults)
    aucs = {}
    for name, rows in zip(AUCS, chosen, strict=True):
        # With classes and order both reversed the AUC is the same. `Ranked` is quick if the
        # positive ones are few, and here the group's sentences are.
        sign = -1 if name == "BPSN AUC" else 1
        positive = insults[rows] if sign == 1 else ~insults[rows]
        ranked = Ranked(positive[:, None].astype(int), sign * scores[rows][:, None])
        aucs[name] = ranked.auc(weights[rows])
    return aucs


def _columns(name: str, values: np.ndarray) -> dict[str, float]:
    interval = to_interval(values)
    return {name: interval.estimate, f"{name} low": interval.low, f"{name} high": interval.high}


def over_the_mean(table: pd.DataFrame) -> pd.DataFrame:
    """Return the groups whose false-positive rate is over `HIGH` times the mean, worst first."""
    return table[table[TIMES] > HIGH].sort_values(TIMES, ascending=False)


def in_words(table: pd.DataFrame) -> list[str]:
    """Say which groups' harmless sentences are flagged far more often than the average group's.

    The groups are called what the table's index calls them, so escape hostile names there.
    """
    mean = table[RATE].mean()
    if not mean > 0:
        return ["No sentence that does not insult is flagged, whichever group it names."]
    told = [_sentence(name, row) for name, row in over_the_mean(table).iterrows()]
    if not told:
        worst, times = table[TIMES].idxmax(), table[TIMES].max()
        highest = f"the highest is that of “{worst}”, {times:.1f} times the mean"
        told = [f"No group's false-positive rate is over twice the mean; {highest}."]
        if table[RATE].count() < 3:
            told.append("With two groups none can be over twice the mean: compare their rates.")
    average = f"{mean:.0%} of the sentences that do not insult are flagged"
    return [f"On average over {table[RATE].count()} groups, {average}.", *told]


def _sentence(name: str, row: pd.Series) -> str:
    return (
        f"Sentences that name “{name}” and are not insulting are flagged {row[TIMES]:.1f} times "
        f"as often as the average group's ({row[RATE]:.0%} of them; "
        f"95 % interval {row[f'{TIMES} low']:.1f} to {row[f'{TIMES} high']:.1f} times)."
    )
