"""Agreement with people: τ_c against scipy and pairs, files by hand, and Flickr8k's own figures."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from sentences import refused
from studies import paths
from studies.captioning import judgements
from studies.captioning.judgements import Judged, agreement, differences, judged, kendall

value = st.sampled_from([0.0, 1e-9, 0.1, 0.3, 0.30000000000000004, 2.5])
item = st.tuples(value, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4))


def observations(scores, levels, weights):
    """One score and one judgement an observation."""
    times = np.repeat(weights, levels.shape[1])
    return np.repeat(np.repeat(scores, levels.shape[1]), times), np.repeat(levels.ravel(), times)


def brute_force(x, y):
    concordance = sum(
        np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in range(len(x)) for j in range(i)
    )
    m = min(len(set(x)), len(set(y)))
    return 2 * concordance / (len(x) ** 2 * (m - 1) / m) if m > 1 else float("nan")


@given(st.lists(item, min_size=1, max_size=20))
def test_tau_is_that_of_every_pair_and_of_scipy(items):
    scores, *levels, weights = np.array(items).T
    levels, weights = np.array(levels, int).T, weights.astype(int)
    x, y = observations(scores, levels, weights)
    got = kendall(scores, levels)(weights)
    assert got == pytest.approx(brute_force(x, y), abs=1e-12, nan_ok=True)
    if len(x) > 1:
        wanted = kendalltau(x, y, variant="c").statistic
        assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_tau_by_hand():
    levels = np.array([[0], [1], [2]])
    ones = np.ones(3)
    assert kendall([0.1, 0.2, 0.3], levels)(ones) == 1
    assert kendall([3, 2, 1], levels)(ones) == -1
    # one of three pairs the wrong way round: 2 · (2 − 1) / (9 · 2/3)
    assert kendall([1, 3, 2], levels)(ones) == pytest.approx(1 / 3)
    # drawn twice, the last counts as two observations tied with each other: 2 · 5 / (16 · 2/3)
    assert kendall([1, 2, 3], levels)([1, 1, 2]) == pytest.approx(15 / 16)


def test_three_experts_are_three_observations():
    levels = np.array([[0, 0, 1], [1, 2, 2]])
    # 8 of the 9 pairs of observations agree, 1 is tied; m = 2: 2 · 8 / (36 · 1/2)
    assert kendall([0.2, 0.7], levels)(np.ones(2)) == pytest.approx(8 / 9)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_resample_of_images_takes_all_their_pairs(seed):
    rng = np.random.default_rng(seed)
    images = np.sort(rng.integers(0, 5, 30))
    images = np.unique(images, return_inverse=True)[1]
    scores = pd.DataFrame({"CIDEr": rng.integers(0, 9, 30) / 7})
    levels = rng.integers(0, 4, (30, 3))
    people = Judged("expert", images, levels, scores)
    drawn = rng.integers(0, images.max() + 1, images.max() + 1)
    rows = np.concatenate([np.flatnonzero(images == image) for image in drawn])
    x, y = observations(scores["CIDEr"].to_numpy()[rows], levels[rows], np.ones(len(rows), int))
    wanted = kendalltau(x, y, variant="c").statistic
    assert people.tau("CIDEr")(drawn) == pytest.approx(wanted, abs=1e-12, nan_ok=True)


@pytest.fixture
def people():
    """Two metrics: one follows the judges, the other is noise."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 4, (200, 3))
    scores = {"good": levels.mean(axis=1) + rng.normal(0, 0.5, 200), "noise": rng.random(200)}
    return Judged("expert", np.arange(200) // 4, levels, pd.DataFrame(scores))


def test_agreement_is_tidy(people):
    table = agreement(people, ["good", "noise"], n_resamples=200)
    columns = ["metric", "judgements", "tau", "ci_low", "ci_high", "pairs"]
    assert list(table.columns) == columns
    assert list(table["metric"]) == ["good", "noise"]
    assert set(table["judgements"]) == {"expert"}
    assert set(table["pairs"]) == {200}
    good, noise = table.itertuples()
    assert good.ci_low < good.tau < good.ci_high
    assert good.ci_low > 0.2
    assert noise.ci_low < 0 < noise.ci_high
    assert table.equals(agreement(people, ["good", "noise"], n_resamples=200))
    assert not table.equals(agreement(people, ["good", "noise"], n_resamples=200, seed=1))


def test_differences_are_paired(people):
    pairs = [("good", "noise"), ("noise", "good"), ("good", "good")]
    table = differences(people, pairs, n_resamples=200)
    assert list(table.columns) == [
        *("first", "second", "judgements", "difference", "ci_low", "ci_high", "p")
    ]
    better, worse, same = table.itertuples()
    taus = agreement(people, ["good", "noise"], n_resamples=2)["tau"]
    assert better.difference == pytest.approx(taus[0] - taus[1])
    assert better.ci_low > 0
    assert better.p < 0.05
    assert (worse.ci_low, worse.ci_high) == pytest.approx((-better.ci_high, -better.ci_low))
    assert (same.difference, same.ci_low, same.ci_high, same.p) == (0, 0, 0, 1)


CAPTIONS = """\
1.jpg#0\tA dog runs .
1.jpg#1\tA brown dog .
2.jpg#0\tA cat sleeps .
2.jpg#1\tA cat .
3.jpg.1#0\tNobody knows this one .
"""
EXPERT = """\
1.jpg\t2.jpg#0\t1\t1\t2
1.jpg\t1.jpg#1\t4\t4\t4
2.jpg\t1.jpg#0\t1\t2\t4
2.jpg\t3.jpg#0\t1\t1\t1
4.jpg\t1.jpg#0\t1\t1\t1
"""
CROWD = """\
1.jpg\t2.jpg#0\t0\t0\t3
1.jpg\t2.jpg#1\t0.666666666666667\t2\t1
2.jpg\t2.jpg#1\t1\t3\t0
2.jpg\t1.jpg#0\t0.333\t2\t4
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Flickr8k.token.txt").write_text(CAPTIONS)
    (tmp_path / "ExpertAnnotations.txt").write_text(EXPERT)
    (tmp_path / "CrowdFlowerAnnotations.txt").write_text(CROWD)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Score by the number of the pair, and keep what was asked."""
    seen = []

    def by_number(candidates, references):
        seen.append((candidates, references))
        return pd.DataFrame({"CIDEr": np.arange(len(candidates)) / 10}, index=list(candidates))

    monkeypatch.setattr(judgements, "score_captions", by_number)
    return seen


def test_experts_are_read(folder, asked):
    found = judged(folder, "expert")
    ((candidates, references),) = asked
    # left out: a caption of the image itself, captions and images that are not in the token file
    assert list(candidates.values()) == ["A cat sleeps .", "A dog runs ."]
    assert list(references.values()) == [
        ["A dog runs .", "A brown dog ."],
        ["A cat sleeps .", "A cat ."],
    ]
    assert candidates.keys() == references.keys()
    assert found.levels.tolist() == [[0, 0, 1], [0, 1, 2]]
    assert found.images.tolist() == [0, 1]
    assert found.scores["CIDEr"].tolist() == [0, 0.1]


def test_the_crowd_is_read(folder, asked):
    found = judged(folder, "crowd")
    assert found.levels.tolist() == [[0], [2], [1]]
    assert found.images.tolist() == [0, 0, 1]
    assert found.judges == "crowd"


@pytest.mark.parametrize(
    ("judges", "name", "line"),
    [
        ("expert", "ExpertAnnotations.txt", "1.jpg\t2.jpg#0\t1\t1"),
        ("expert", "ExpertAnnotations.txt", "1.jpg\t2.jpg#0\t1\t1\t5"),
        ("expert", "ExpertAnnotations.txt", "1.jpg\t2.jpg#0\t1\t1\t1.5"),
        ("expert", "ExpertAnnotations.txt", "1.jpg\t2.jpg#0\t1\t1\t1\t1"),
        ("expert", "ExpertAnnotations.txt", "1.jpg 2.jpg#0 1 1 1"),
        ("crowd", "CrowdFlowerAnnotations.txt", "1.jpg\t2.jpg#0\t0\t0\t0"),
        ("crowd", "CrowdFlowerAnnotations.txt", "1.jpg\t2.jpg#0\t0\tnan\t1"),
        ("crowd", "CrowdFlowerAnnotations.txt", "1.jpg\t2.jpg#0\t0\t-1\t3"),
        ("crowd", "CrowdFlowerAnnotations.txt", "1.jpg\t2.jpg#0\tyes\t1\t3"),
    ],
)
def test_a_malformed_line_is_told(judges, name, line, folder, asked):
    (folder / name).write_text(f"1.jpg\t2.jpg#0\t1\t1\t2\n\n{line}\n")
    message = refused(judged, folder, judges)
    assert message.startswith(f"{folder / name} line 3: expected image, caption and")
    assert not asked


def test_missing_and_empty_files_are_told(folder, asked):
    (folder / "ExpertAnnotations.txt").write_text("1.jpg\t1.jpg#0\t1\t1\t2\n")
    assert "ExpertAnnotations.txt: judges no caption of" in refused(judged, folder, "expert")
    (folder / "ExpertAnnotations.txt").unlink()
    assert "ExpertAnnotations.txt: no such file" in refused(judged, folder, "expert")
    (folder / "Flickr8k.token.txt").unlink()
    assert "Flickr8k.token.txt: no such file" in refused(judged, folder, "crowd")


def real_folder():
    bases = (paths.data(), paths.REPOSITORY.parent / "shared" / "data")
    found = (base / "flickr8k" for base in bases)
    name = "Flickr8k_text/ExpertAnnotations.txt"
    return next((folder for folder in found if (folder / name).is_file()), None)


# Kendall's τ_c of BLEU-4, METEOR, ROUGE-L and CIDEr by number of pairs: the published set, and
# the part of it whose images and captions are kept for development
FIGURES = {5664: [30.8, 41.8, 32.3, 43.9], 352: [35.4, 46.6, 40.8, 47.0]}


@pytest.mark.skipif(real_folder() is None, reason="no judgements of flickr8k in STUDIES_DATA")
def test_real_experts_give_the_known_figures():
    table = agreement(judged(real_folder(), "expert"), n_resamples=100)
    assert list(table["metric"]) == ["BLEU-4", "METEOR", "ROUGE-L", "CIDEr"]
    figures = FIGURES[table["pairs"].iloc[0]]
    assert (100 * table["tau"]).round(1).tolist() == figures
    assert (table["ci_low"] < table["tau"]).all()
    assert (table["tau"] < table["ci_high"]).all()
