"""The measures of made pictures against other ways to the same numbers: SciPy's matrix root, closed forms, loops, wavelets in place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import signal
from scipy.linalg import sqrtm

from lodestar.contracts.intervals import expanded_percentile
from lodestar.contracts.language import Words
from lodestar.contracts.score import Columns, Metric
from lodestar.evaluate.bootstrap import resampled, scores
from lodestar.evaluate.features import FLOOR, OPPONENT, features
from lodestar.evaluate.frechet import FID, frechet_distance, gaussian_distance
from lodestar.evaluate.generated import GENERATION_METRICS, copied_share, generation_columns, generation_findings, nearest_learnt
from lodestar.evaluate.manifold import inside, manifold_columns, radii
from lodestar.evaluate.pixel_gaussians import FEWEST, PixelGaussians


def random_pictures(count: int, seed: int = 0, size: int = 32) -> np.ndarray:
    """Blobs of colour, so that neighbouring pixels have something to do with each other."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 3, size // 4, size // 4))
    return np.clip(coarse.repeat(4, 2).repeat(4, 3) + random.normal(0, 9, (count, 3, size, size)), 0, 255).astype(np.uint8)


# --- the Fréchet distance ---


@pytest.mark.parametrize("count", [400, 40])
def test_the_distance_is_that_of_scipys_matrix_root(count: int) -> None:
    random = np.random.default_rng(count)
    mixing = random.normal(size=(12, 12))
    a, b = random.normal(size=(count, 12)) @ mixing, random.normal(0.3, 1.5, size=(count, 12))
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)


def test_the_distance_of_gaussians_whose_axes_agree_is_known() -> None:
    """|μ − ν|² + Σ (σ − τ)², by the axes."""
    mean, other = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    deviations, others = np.array([2.0, 0.5, 3.0]), np.array([1.0, 0.5, 0.0])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    a, b = (turn @ np.diag(each**2) @ turn.T for each in (deviations, others))
    assert gaussian_distance(mean, a, other, b) == pytest.approx(1 + 9 + 1 + 0 + 9)


def test_features_that_depend_on_each_other_give_a_finite_distance_and_equal_sets_none() -> None:
    random = np.random.default_rng(1)
    few = random.normal(size=(5, 20))  # covariances of rank 4
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(frechet_distance(few, random.normal(size=(6, 20))))
    assert math.isnan(frechet_distance(few[:1], few))


def test_few_pictures_make_the_distance_larger_as_the_words_say() -> None:
    random = np.random.default_rng(2)
    means = [
        np.mean([frechet_distance(random.normal(size=(count, 10)), random.normal(size=(count, 10))) for _ in range(20)])
        for count in (20, 80, 320)
    ]
    assert means[0] > 2 * means[1] > 4 * means[2] > 0
    assert "Fewer pictures make it larger" in FID.words.en


def test_the_interval_stands_around_the_value_and_not_beside_it() -> None:
    """A resample has fewer different rows, so that its distance is larger: its bare interval would miss the value it is of."""
    random = np.random.default_rng(3)
    columns = {"made": random.normal(size=(60, 8)), "real": random.normal(0.2, 1, size=(60, 8))}
    (ours,) = scores([FID], columns, resamples=300, confidence=0.95, seed=0)
    (bare,) = scores([Metric("fid", FID.words, "", "lower", FID.compute)], columns, resamples=300, confidence=0.95, seed=0)
    assert bare.low == bare.value  # all but a few resamples lie above
    assert ours.low < ours.value < ours.high
    assert ours.high - ours.low == pytest.approx(bare.high - _low_end(FID, columns), rel=0.2)


def _low_end(metric: Metric, columns: Columns) -> float:
    return expanded_percentile(resampled([metric], [columns], resamples=300, seed=0)[:, 0, 0], 60, 0.95)[0]


def test_a_column_that_no_metric_asks_for_is_not_resampled() -> None:
    class Refusing(np.ndarray):
        def __getitem__(self, key):
            raise AssertionError("nobody asked for it")

    columns = {"x": np.arange(5.0), "pictures": np.zeros(5).view(Refusing)}
    mean = Metric("mean", Words("", ""), "", "higher", lambda rows: float(rows["x"].mean()))
    (found,) = scores([mean], columns, resamples=100, confidence=0.9, seed=0)
    assert found.value == 2.0


# --- precision and recall ---


def test_precision_and_recall_are_those_of_the_definition() -> None:
    random = np.random.default_rng(4)
    real, made = random.normal(size=(70, 3)), random.normal(1.2, 0.6, size=(50, 3))

    def region(points: np.ndarray) -> list[float]:
        return [sorted(math.dist(a, b) for b in points)[3] for a in points]  # the first is the point itself

    def share(points: np.ndarray, others: np.ndarray) -> list[bool]:
        reach = region(others)
        return [any(math.dist(point, other) <= far for other, far in zip(others, reach, strict=True)) for point in points]

    columns = manifold_columns(real, made)
    assert columns["precise"].tolist() == share(made, real)
    assert columns["recalled"].tolist() == share(real, made)
    assert 0 < columns["recalled"].mean() < columns["precise"].mean() < 1
    np.testing.assert_allclose(np.sqrt(radii(real)), region(real))


def test_more_rows_than_fit_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    real, made = random.normal(size=(2, 40, 2))
    whole = inside(made, real)
    monkeypatch.setattr("lodestar.evaluate.manifold.ROWS", 7)
    assert np.array_equal(inside(made, real), whole)
    assert not inside(made, real[:1]).any()
    assert inside(real[:2], real[:2]).all()  # fewer neighbours than are asked for


def test_one_mode_is_precise_and_recalls_little() -> None:
    random = np.random.default_rng(6)
    real = np.concatenate([random.normal(0, 0.1, (50, 2)), random.normal(9, 0.1, (50, 2))])
    columns = manifold_columns(real, random.normal(0, 0.1, (100, 2)))
    assert columns["precise"].mean() > 0.9
    assert columns["recalled"].mean() < 0.55


# --- features ---


def test_features_are_wavelets_in_place() -> None:
    """One picture, each convolution written out with SciPy on mirrored pixels."""
    picture = random_pictures(1)[0]
    colours = np.einsum("oc,cyx->oyx", OPPONENT, picture / 255)
    expected = [colours[:, y : y + 16, x : x + 16].mean((1, 2)) for y in (0, 16) for x in (0, 16)]
    numbers = list(np.stack(expected).T.ravel())

    def morlet(scale: int, direction: int) -> np.ndarray:
        y, x = np.mgrid[-24:25, -24:25]
        bell = np.exp(-(x**2 + y**2) / (2 * (0.8 * 2**scale) ** 2))
        bell = bell / bell.sum()
        along = x * np.cos(np.pi * direction / 4) + y * np.sin(np.pi * direction / 4)
        wave = bell * np.exp(0.75j * np.pi / 2**scale * along)
        return wave - wave.sum() * bell

    def answer(values: np.ndarray, scale: int, direction: int) -> np.ndarray:
        """What a wavelet answers, of mirrored pixels, whose opposite sides meet."""
        return np.abs(signal.convolve(np.pad(values, 24, mode="wrap"), morlet(scale, direction), mode="valid"))

    padded = np.pad(colours, ((0, 0), (16, 16), (16, 16)), mode="reflect")
    inner = (slice(16, 48), slice(16, 48))
    for scale in range(3):
        for direction in range(4):
            first = [answer(each, scale, direction) for each in padded]
            numbers += [math.log(each[inner].mean() + FLOOR) for each in first]
            for larger in range(scale + 1, 3):
                numbers += [math.log(answer(first[0], larger, turned)[inner].mean() + FLOOR) for turned in range(4)]
    found = features([picture])
    assert found.shape == (1, 96)
    # The widest bell is cut at 24 pixels here, where it is a ten-thousandth of its height.
    np.testing.assert_allclose(found[0], numbers, atol=5e-3)


def test_features_do_not_depend_on_company_and_small_pictures_have_them_too() -> None:
    pictures = random_pictures(40)
    together = features(pictures)
    np.testing.assert_allclose(features(pictures[35:36]), together[35:36], rtol=1e-5, atol=1e-5)
    assert features(random_pictures(3, size=8)).shape == (3, 96)
    assert features(random_pictures(2, size=64)).shape == (2, 96)
    assert features([]).shape == (0, 96)


def test_what_spoils_pictures_moves_their_features_the_further_the_more() -> None:
    """Noise, blur, missing kinds and moved parts, each in two strengths, against other pictures of the same kind."""
    from scipy.ndimage import gaussian_filter

    real, other = random_pictures(60, seed=7), random_pictures(60, seed=8)
    reference = features(real)
    floor = frechet_distance(reference, features(other))
    random = np.random.default_rng(0)

    def distance(pictures: np.ndarray) -> float:
        return frechet_distance(reference, features(np.clip(pictures, 0, 255).astype(np.uint8)))

    for weak, strong in (
        (other + random.normal(0, 12, other.shape), other + random.normal(0, 40, other.shape)),
        (gaussian_filter(other.astype(float), (0, 0, 0.5, 0.5)), gaussian_filter(other.astype(float), (0, 0, 1.5, 1.5))),
        (other * 0.9, other * 0.6),
    ):
        assert floor < distance(weak) < distance(strong)


# --- what a person is shown, and the baseline ---


def test_copies_are_told_from_new_pictures() -> None:
    learnt, unseen = random_pictures(80, seed=9, size=8), random_pictures(40, seed=10, size=8)
    new, copies = random_pictures(40, seed=11, size=8), learnt[:40]
    far, _ = nearest_learnt(unseen, learnt)
    near, nearest = nearest_learnt(copies, iter(learnt))
    assert np.array_equal(nearest, copies)
    assert not near.any()
    assert copied_share(near, far) == 1.0
    assert copied_share(nearest_learnt(new, learnt)[0], far) == pytest.approx(0.5, abs=0.15)
    ways = [min(float(np.square(a.astype(float) - b).sum()) for b in learnt) for a in unseen[:5]]
    np.testing.assert_allclose(far[:5], ways)


def test_the_nearest_is_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt, asked = random_pictures(30, size=8), random_pictures(9, seed=1, size=8)
    whole = nearest_learnt(asked, learnt)
    monkeypatch.setattr("lodestar.evaluate.generated.PART", 4)
    for ours, parts in zip(whole, nearest_learnt(asked, learnt), strict=True):
        assert np.array_equal(ours, parts)


def test_findings_show_a_row_for_each_label_and_say_how_much_is_copied() -> None:
    from lodestar.prepare.pictures import png

    made, real = random_pictures(12, size=8), random_pictures(12, seed=1, size=8)
    columns = generation_columns(real, made)
    assert {metric.name for metric in GENERATION_METRICS} == {"fid", "precision", "recall"}
    found = generation_findings(columns, ["圆 <&>", "star"] * 6, list(real), random_pictures(20, seed=2, size=8), png)
    assert set(found.pictures) == {"made", "nearest"}
    drawn = found.pictures["made"].zh
    assert drawn.count("<image ") == 12
    assert "圆 &lt;&amp;&gt;" in drawn
    assert found.pictures["nearest"].en.count("<image ") == 16
    assert "learnt from" in found.pictures["nearest"].en
    assert "Copies: in " in found.sentences[0].en
    several = generation_findings(columns, [f"text {number}" for number in range(12)], list(real), real, png)
    assert several.pictures["made"].en.count("<text ") == 12


def test_gaussians_of_pixels_have_each_labels_mean_and_covariance() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(12, 12)) * 9
    dark = np.clip(90 + random.normal(size=(300, 12)) @ mixing, 0, 255).astype(np.uint8).reshape(300, 3, 2, 2)
    bright = np.full((FEWEST - 1, 3, 2, 2), 250, np.uint8)
    gaussians = PixelGaussians([*dark, *bright], ["dark"] * len(dark) + ["bright"] * len(bright))
    drawn = np.stack([gaussians.draw("dark", 0, str(number)) for number in range(2000)]).reshape(2000, -1)
    flat = dark.reshape(300, -1)
    np.testing.assert_allclose(drawn.mean(0), flat.mean(0), atol=3)
    np.testing.assert_allclose(drawn.std(0), flat.std(0), rtol=0.15)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(flat.T), atol=0.15)
    assert np.array_equal(gaussians.draw("dark", 0, "1"), gaussians.draw("dark", 0, "1"))
    # Too few of a label, or a text that was never met: everything together.
    assert gaussians.draw("bright", 0, "x").mean() < 200
    assert np.array_equal(gaussians.draw("bright", 0, "x"), gaussians.draw("never met", 0, "x"))
