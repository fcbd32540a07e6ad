"""Linear models: on character n-grams, hard to beat on short texts (Wang and Manning 2012, https://aclanthology.org/P12-2018); and on any
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FAR = 30.0
"""The logit of a label that every training record has, or none: its likelihood ratio is not known, but large."""


def feature_logits(learnt: np.ndarray, truth: np.ndarray, asked: np.ndarray, labels: int) -> np.ndarray:
    """Learn logistic regression on rows of numbers (n, F), and give the log-probabilities (m, C) of other rows.

    Args:
        truth: the index of each learnt row's label (n,).
        labels: C; one that stands in no row is all but impossible.
    """
    logits = np.full((len(asked), labels), -FAR)
    model = feature_model(learnt, truth)
    logits[:, model.classes_] = model.predict_log_proba(asked)
    return logits


def feature_model(learnt: np.ndarray, truth: np.ndarray) -> Pipeline:
    """Logistic regression on rows of numbers (n, F) with the index of each one's label (n,)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # The penalty of standardised numbers. # assumed: the best of 0.001 to 1 moves accuracy by a point or so
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(learnt, truth)


def linear_logits(texts: Sequence[str], truth: np.ndarray, held_out: Sequence[str], labels: int) -> np.ndarray:
    """Learn logistic regression on TF-IDF of character 1- to 4-grams, and give the logits (n, C) of the held-out texts.

    Args:
        truth: of the training texts: the index of the label (n,), or of several labels (n, C) of 0 and 1.
        labels: C; one that stands in no training record is all but impossible.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=1 if len(texts) < 1000 else 2, sublinear_tf=True)
    learnt, asked = vectorizer.fit_transform(texts), vectorizer.transform(held_out)
    logits = np.full((len(held_out), labels), -FAR)
    if truth.ndim == 1:
        model = LogisticRegression(C=30, max_iter=1000).fit(learnt, truth)
        logits[:, model.classes_] = model.predict_log_proba(asked)
        return logits
    for label, true in enumerate(truth.T):
        if true.min() == true.max():
            logits[:, label] = FAR if true[0] else -FAR
        else:
            logits[:, label] = LogisticRegression(C=30, max_iter=1000).fit(learnt, true).decision_function(asked)
    return logits
