"""Agreement with people: τ_c against scipy and pairs, files by hand, and Flickr8k's own figures."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from sentences import refused
from studies.captioning import judgements
from studies.captioning.judgements import COMPARED, judged, kendall, measured
from studies.captioning.metrics import score_captions
from studies.captioning.readers import TOKENS, text_file, token_captions
from studies.reporting.bootstrap import draws

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


class TestTau:
    @given(st.lists(item, min_size=1, max_size=20))
    def test_it_is_that_of_every_pair_and_of_scipy(self, items):
        scores, *levels, weights = np.array(items).T
        levels, weights = np.array(levels, int).T, weights.astype(int)
        x, y = observations(scores, levels, weights)
        [got] = kendall(scores, levels)(weights[None])
        assert got == pytest.approx(brute_force(x, y), abs=1e-12, nan_ok=True)
        if len(x) > 1:
            wanted = kendalltau(x, y, variant="c").statistic
            assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True)

    def test_a_resample_of_images_takes_all_their_pairs(self):
        rng = np.random.default_rng(0)
        images, captions = rng.permutation(np.arange(30) // 6), rng.permutation(np.arange(30) // 3)
        pairs = pd.DataFrame(rng.integers(0, 9, (30, 4)) / 7, columns=COMPARED)
        grades = rng.integers(1, 5, (30, 3))
        pairs[["judge1", "judge2", "judge3"]] = grades
        pairs = pairs.assign(image=images, caption=captions)
        systems = measured(expert=pairs, crowd=pairs.assign(caption=0))
        # of either kind all pairs of what is drawn, as often as the product says
        both = draws(images), draws(captions, seed=1)
        times = both[0] * both[1]
        for metric in COMPARED:
            expert = systems[metric]["tau_expert"]
            assert (expert.items, expert.fixed) == (30, True)
            assert expert.values == systems[metric]["tau_crowd"].values
            scores = pairs[metric].to_numpy()
            for place in range(20):
                x, y = observations(scores, grades, times[place])
                wanted = kendalltau(x, y, variant="c").statistic
                assert expert.samples[0][place] == pytest.approx(wanted, abs=1e-12)
                alone = systems[metric]["tau_crowd"].samples[0][place]
                weights = both[0][place] * draws(np.zeros(30), seed=1)[place]
                x, y = observations(scores, grades, weights)
                assert alone == pytest.approx(kendalltau(x, y, variant="c").statistic, abs=1e-12)
                assert len({*both[0][place][images == 3]}) == 1


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "Flickr8k.token.txt").write_text(
            "1.jpg#0\tA dog runs .\n1.jpg#1\tA brown dog .\n"
            "2.jpg#0\tA cat sleeps .\n2.jpg#1\tA cat .\n"
        )
        (tmp_path / "ExpertAnnotations.txt").write_text(
            "1.jpg\t2.jpg#0\t1\t1\t2\n2.jpg\t1.jpg#0\t1\t2\t4\n"
            # its own caption, and what the token file lacks
            "1.jpg\t1.jpg#1\t4\t4\t4\n3.jpg\t1.jpg#0\t1\t1\t1\n1.jpg\t2.jpg#5\t1\t1\t1\n"
        )
        (tmp_path / "CrowdFlowerAnnotations.txt").write_text(
            "1.jpg\t2.jpg#0\t0\t0\t3\n1.jpg\t2.jpg#1\t1\t3\t0\n2.jpg\t1.jpg#0\t0.3\t1\t2\n"
        )
        return tmp_path

    @pytest.fixture(autouse=True)
    def asked(self, monkeypatch):
        """What was to be scored, without Java: rising scores."""
        calls = []

        def score(candidates, references):
            calls.append((list(candidates.values()), list(references.values())))
            return pd.DataFrame({"CIDEr": np.arange(len(candidates)) / 10}, index=list(candidates))

        monkeypatch.setattr(judgements, "score_captions", score)
        return calls

    def test_experts(self, folder, asked):
        people = judged(folder, "expert")
        dog, cat = ["A dog runs .", "A brown dog ."], ["A cat sleeps .", "A cat ."]
        assert asked == [([cat[0], dog[0]], [dog, cat])]
        columns = ["image", "caption", "judge1", "judge2", "judge3", "CIDEr"]
        assert people.columns.tolist() == columns
        assert people.to_numpy().tolist() == [
            ["1.jpg", "2.jpg#0", 1, 1, 2, 0.0],
            ["2.jpg", "1.jpg#0", 1, 2, 4, 0.1],
        ]

    def test_crowd(self, folder):
        people = judged(folder, "crowd")
        assert people["judge1"].tolist() == pytest.approx([0, 1, 1 / 3])
        assert people["image"].tolist() == ["1.jpg", "1.jpg", "2.jpg"]

    @pytest.mark.parametrize(
        ("judges", "cells"),
        [
            *(("expert", cells) for cells in ("1 1", "1 1 5", "1 1 1.5", "1 1 1 1")),
            *(("crowd", cells) for cells in ("0 0 0", "0 nan 1", "0 -1 3", "0 yes 1")),
        ],
    )
    def test_a_malformed_line_is_told(self, judges, cells, folder, asked):
        line = "\t".join(["1.jpg", "2.jpg#0", *cells.split()])
        file = folder / judgements.FILES[judges]
        file.write_text(f"1.jpg\t2.jpg#0\t1\t1\t2\n\n{line}\n")
        assert refused(judged, folder, judges).startswith(f"{file} line 3: ")
        assert not asked

    def test_missing_and_empty_files_are_told(self, folder):
        file = folder / "ExpertAnnotations.txt"
        file.write_text("1.jpg\t1.jpg#0\t1\t1\t2\n")
        assert refused(judged, folder, "expert").startswith(f"{file}: judges no caption")
        file.unlink()
        assert "ExpertAnnotations.txt: no such file" in refused(judged, folder, "expert")
        (folder / "Flickr8k.token.txt").unlink()
        assert "Flickr8k.token.txt: no such file" in refused(judged, folder, "crowd")


# Kendall's τ_c of BLEU-4, METEOR, ROUGE-L and CIDEr by number of pairs: the published set, and
# the part of it whose images and captions are kept for development
FIGURES = {5664: [30.8, 41.8, 32.3, 43.9], 352: [35.4, 46.6, 40.8, 47.0]}


def test_real_experts_give_the_known_figures(real_flickr8k):
    pairs = judged(real_flickr8k, "expert")
    taus = [systems["tau_expert"].values[0] for systems in measured(expert=pairs).values()]
    assert [round(100 * tau, 1) for tau in taus] == FIGURES[len(pairs)]


def test_real_crowd_is_as_the_measures_say_directly(real_flickr8k):
    pairs = judged(real_flickr8k, "crowd")
    systems = measured(crowd=pairs)
    for metric in COMPARED:
        wanted = kendalltau(pairs[metric], pairs["judge1"], variant="c").statistic
        assert systems[metric]["tau_crowd"].values[0] == pytest.approx(wanted, abs=1e-12)
    some = pairs.sample(40, random_state=0)
    texts = token_captions(text_file(real_flickr8k, TOKENS))
    by_name = texts.set_index(texts["image"] + "#" + texts["number"])["caption"]
    people = texts.groupby("image")["caption"].agg(list)
    direct = score_captions(
        dict(enumerate(by_name[some["caption"]])), dict(enumerate(people[some["image"]]))
    )
    for metric in ("BLEU-4", "METEOR", "ROUGE-L"):  # CIDEr weighs words by all pairs
        np.testing.assert_allclose(direct[metric], some[metric], atol=1e-9)
