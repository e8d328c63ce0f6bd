"""Find comments that occur more than once, exactly or with small edits."""

import hashlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer
from sparse_dot_topn import sp_matmul_topn, zip_sp_matmul_topn

SIMILARITY = 0.85  # the least cosine of the tf-idf vectors of nearly identical comments
NEIGHBOURS = 100  # that a comment is joined with at most, which bounds the memory
BLOCK = 4096  # comments that all others are compared with at a time, to limit memory
WORD = re.compile(r"\w+")


def duplicate_groups(texts: Iterable[str]) -> np.ndarray:
    """Number the distinct comments in their order: (N,), the same number for identical comments.

    Only a hash of 8 bytes of each is kept. Two of ten million different comments have the same
    hash with a probability of 3 in a million.
    """
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    hashes = np.fromiter((int.from_bytes(digest) for digest in digests), np.uint64)
    return pd.factorize(hashes)[0]


def near_duplicate_groups(texts: Sequence[str]) -> np.ndarray:
    """Number the comments: (N,), the same number for identical and nearly identical comments.

    Nearly identical comments have almost the same words, in any order and case, like a warning
    pasted with another name. If A is nearly identical to B and B to C, all get the same number.
    """
    # Comments with the same words are compared once; many copies would fill all places among the
    # nearest neighbours.
    key_of_text = duplicate_groups(map(_key, texts))
    first = np.unique(key_of_text, return_index=True)[1]  # the first comment with each key
    vectorizer = TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True, dtype=np.float32)
    try:
        tfidf = vectorizer.fit_transform(_key(texts[row]) for row in first)
    except ValueError:  # no comment has a word
        return key_of_text
    near = [
        sp_matmul_topn(tfidf, block.T.tocsr(), NEIGHBOURS, threshold=SIMILARITY, n_threads=-1)
        for block in (tfidf[row : row + BLOCK] for row in range(0, len(first), BLOCK))
    ]
    joined = zip_sp_matmul_topn(NEIGHBOURS, near)
    return connected_components(joined, directed=False)[1][key_of_text]


def _key(text: str) -> str:
    """Return the words of a comment in alphabetical order, or the comment if it has none."""
    return " ".join(sorted(WORD.findall(text.lower()))) or text


def conflicting_rows(labels: np.ndarray, groups: np.ndarray) -> int:
    """Count the rows that differ in their labels, (N, L), from another row of their group."""
    table = pd.DataFrame(labels).groupby(groups)
    return int((table.transform("nunique") > 1).any(axis=1).sum())
