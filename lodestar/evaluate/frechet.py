"""How far two sets of pictures are from each other: the Fréchet distance of their features, each set taken for a Gaussian.

Heusel et al. 2017, https://arxiv.org/abs/1706.08500, who took the features of an Inception network; ours are those of `features`.

Axes: n and m pictures, F features.
"""

from __future__ import annotations

import math

import numpy as np

from ..contracts.language import Words
from ..contracts.score import Columns, Metric


def gaussian_distance(mean_F: np.ndarray, covariance_FF: np.ndarray, other_mean_F: np.ndarray, other_covariance_FF: np.ndarray) -> float:
    """|μ − ν|² + tr(A + B − 2·(A^½·B·A^½)^½): the squared Wasserstein distance of two Gaussians (Dowson and Landau 1982).

    The root is taken of symmetric matrices alone, by their eigenvalues, of which rounding makes some a little negative: these are 0. The
    usual root of A·B, which is not symmetric, has an imaginary part to be cut off, and fails where features depend on each other.
    """
    values_F, vectors_FF = np.linalg.eigh(covariance_FF)
    root_FF = (vectors_FF * np.sqrt(values_F.clip(0))) @ vectors_FF.T
    inner_F = np.linalg.eigvalsh(root_FF @ other_covariance_FF @ root_FF).clip(0)
    traces = np.trace(covariance_FF) + np.trace(other_covariance_FF) - 2 * np.sqrt(inner_F).sum()
    return float(np.square(mean_F - other_mean_F).sum() + traces)


def frechet_distance(features_nF: np.ndarray, others_mF: np.ndarray) -> float:
    """The distance of two sets of features; NaN of a set of one, which has no spread."""
    if min(len(features_nF), len(others_mF)) < 2:
        return math.nan
    (mean, covariance), (other_mean, other_covariance) = (
        (each.mean(0, dtype=np.float64), np.cov(each, rowvar=False, dtype=np.float64)) for each in (features_nF, others_mF)
    )
    return gaussian_distance(mean, np.atleast_2d(covariance), other_mean, np.atleast_2d(other_covariance))


def fid(columns: Columns) -> float:
    """The distance of the features `made` from the features `real`."""
    return frechet_distance(columns["made"], columns["real"])


FID = Metric(
    "fid",
    Words(
        "How far the pictures that are made are from real ones, as two clouds of features: 0 for the same cloud. Fewer pictures make it"
        " larger: compare values of equally many.",
        "生成的图片与真实图片的特征分布相距多远：分布相同则为 0。图片越少数值越大：只比较图片数相同的结果。",
    ),
    "",
    "lower",
    fid,
    recentred=True,
)
