"""Find comments that occur more than once, exactly or with small edits."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer
from sparse_dot_topn import sp_matmul_topn

SIMILARITY = 0.85  # the least cosine of the tf-idf vectors of nearly identical comments
NEIGHBOURS = 100  # that a comment is joined with at most, which bounds the memory
WORD = re.compile(r"\w+")


def duplicate_groups(texts: Sequence[str]) -> np.ndarray:
    """Number the distinct comments: (N,), the same number for identical comments."""
    return pd.factorize(np.asarray(texts, dtype=object))[0]


def near_duplicate_groups(texts: Sequence[str]) -> np.ndarray:
    """Number the comments: (N,), the same number for identical and nearly identical comments.

    Nearly identical comments have almost the same words, in any order and case, like a warning
    pasted with another name. If A is nearly identical to B and B to C, all get the same number.
    """
    # Comments with the same words are compared once; many copies would fill all places among the
    # nearest neighbours. A comment without words is compared as it is.
    keys = [" ".join(sorted(WORD.findall(text.lower()))) or text for text in texts]
    key_of_text, distinct = pd.factorize(np.asarray(keys, dtype=object))
    vectorizer = TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True, dtype=np.float32)
    try:
        tfidf = vectorizer.fit_transform(distinct)
    except ValueError:  # no comment has a word
        return key_of_text
    near = sp_matmul_topn(tfidf, tfidf.T.tocsr(), NEIGHBOURS, threshold=SIMILARITY, n_threads=-1)
    return connected_components(near, directed=False)[1][key_of_text]


def conflicting_rows(labels: np.ndarray, groups: np.ndarray) -> int:
    """Count the rows that differ in their labels, (N, L), from another row of their group."""
    table = pd.DataFrame(labels).groupby(groups)
    return int((table.transform("nunique") > 1).any(axis=1).sum())
