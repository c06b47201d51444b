"""Verdicts on cases whose verdict is plain to see."""

import numpy as np
import pandas as pd
import pytest

from spoken import IMAGES, captions, people
from studies.captioning import claims, judgements
from studies.captioning.comparisons import paired_tests
from studies.captioning.judgements import Judged
from studies.captioning.results import read
from studies.paths import StudyError
from studies.reporting.tables import BOOTSTRAP

THREE = ("resnet_lstm", "resnet_transformer", "clip_transformer")
# CLIP over ResNet, and the Transformer over the LSTM
STEPS = [("resnet_transformer", "clip_transformer"), ("resnet_lstm", "resnet_transformer")]
PRETRAINED = {"name": "backbone", "weights": "somewhere", "trained": False}
UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)


def one_test(first, second, interval, seeds=3, metric="cider"):
    low, high = interval
    return {
        **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP, "seeds": seeds},
        **{"difference": (low + high) / 2, "ci_low": low, "ci_high": high, "p": 0.04},
    }


def table_of(*rows):
    return pd.DataFrame(rows, columns=list(one_test("", "", UP)))


@pytest.fixture
def judge(sandbox, write_run):
    """Return a function: systems run, intervals of the two steps -> the row of C1."""

    def judge(systems, *intervals, dataset="made_up", seeds=3, trunk=PRETRAINED, others=()):
        for system in systems:
            said, given = captions([0, 1]), people(2)
            write_run(sandbox / "root", system, 0, said, given, dataset, trunk=trunk)
        steps = zip(STEPS, intervals, strict=False)
        rows = [one_test(*step, interval, seeds) for step, interval in steps]
        ledger = claims.ledger(read(dataset), table_of(*others, *rows), None)
        assert [claim.id for claim in ledger] == ["C1", "C2"]
        return ledger[0]

    return judge


class TestArchitectures:
    @pytest.mark.parametrize(
        ("intervals", "word"),
        [
            ((UP, UP), "holds"),
            ((UP, DOWN), "does not hold"),
            ((DOWN, UP), "does not hold"),
            ((DOWN, BOTH), "does not hold"),
            ((UP, BOTH), "inconclusive"),
            ((BOTH, UP), "inconclusive"),
            ((UP, (0.0, 0.02)), "inconclusive"),
        ],
    )
    def test_both_steps_decide(self, judge, intervals, word):
        found = judge(THREE, *intervals)
        assert found.verdict == f"{word} (3 seeds)"
        assert "CIDEr" in found.experiment

    def test_the_figure_shows_both_steps_with_intervals(self, judge):
        assert judge(THREE, UP, (-0.0504, 0.0104)).figure == (
            "clip_transformer − resnet_transformer +0.040 [+0.030, +0.050]; "
            "resnet_transformer − resnet_lstm −0.020 [−0.050, +0.010]"
        )

    def test_other_metrics_and_pairs_do_not_decide(self, judge):
        others = [one_test(*step, DOWN, metric="bleu4") for step in STEPS]
        others.append(one_test("resnet_lstm", "clip_transformer", DOWN))
        assert judge(THREE, UP, UP, others=others).verdict == "holds (3 seeds)"

    def test_one_seed(self, judge):
        assert judge(THREE, UP, UP, seeds=1).verdict == "holds (one seed)"

    def test_the_fewest_seeds_are_named(self, sandbox, judge):
        judge(THREE, UP, UP)
        rows = table_of(one_test(*STEPS[0], UP, 5), one_test(*STEPS[1], UP, 2))
        assert claims.architectures(read("made_up"), rows).verdict == "holds (2 seeds)"

    @pytest.mark.parametrize("dataset", ["tiny", "demo"])
    def test_drawn_data_is_marked(self, judge, dataset):
        found = judge(THREE, UP, UP, dataset=dataset, seeds=1)
        assert found.verdict == "holds (one seed, synthetic)"

    @pytest.mark.parametrize("interval", [UP, DOWN])
    def test_from_scratch_it_is_another_question(self, judge, interval):
        found = judge(THREE, UP, interval, trunk=None, seeds=1)
        word = "holds" if interval == UP else "does not hold"
        assert found.verdict == (
            f"not tested here: the encoders are from scratch, where the order {word} (one seed)"
        )
        assert found.figure.startswith("clip_transformer − resnet_transformer +0.040")

    def test_one_encoder_from_scratch_is_enough(self, sandbox, write_run, judge):
        said, given = captions([0, 1]), people(2)
        write_run(sandbox / "root", "resnet_lstm", 0, said, given)
        found = judge(THREE[1:], UP, UP)
        assert found.verdict.startswith("not tested here: the encoders are from scratch")

    def test_systems_that_were_not_run_are_named(self, judge):
        found = judge(["resnet_transformer", "resnet_lstm@wide", "most_frequent"], UP, UP)
        assert found.verdict == (
            "not tested here: no run of resnet_lstm or clip_transformer on made_up"
        )
        assert found.figure == ""

    def test_no_seed_in_common(self, judge):
        found = judge(THREE, UP)
        assert found.verdict == "not tested here: the systems have no seed in common"
        assert found.figure == ""

    @pytest.mark.parametrize(
        ("levels", "word"), [((4, 2, 0), "holds"), ((2, 2, 0), "inconclusive")]
    )
    def test_from_runs(self, sandbox, write_run, few_resamples, levels, word):
        for system, wrong in zip(THREE, levels, strict=True):
            said = captions([wrong] * IMAGES)
            write_run(sandbox / "root", system, 0, said, people(), trunk=PRETRAINED)
        results = read("made_up")
        found = claims.architectures(results, paired_tests(results))
        assert found.verdict == f"{word} (one seed)"


METRICS = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
CLAIMED = [("CIDEr", "METEOR"), ("CIDEr", "ROUGE-L"), ("CIDEr", "BLEU-4"), ("METEOR", "BLEU-4")]


def agreement(intervals, judges="expert"):
    """As `claims.human_agreement` gives it: a row a metric, then one a claimed difference."""
    taus = [(metric, "", judges, 0.3, 0.28, 0.3214, 5664) for metric in METRICS]
    gaps = [
        (*pair, judges, (low + high) / 2, low, high, 5664)
        for pair, (low, high) in zip(CLAIMED, intervals, strict=True)
    ]
    columns = ["metric", "against", "judgements", "tau", "ci_low", "ci_high", "pairs"]
    return pd.DataFrame([*taus, *gaps], columns=columns)


class TestMetrics:
    @pytest.mark.parametrize(
        ("intervals", "word"),
        [
            ((UP, UP, UP, UP), "holds"),
            ((UP, UP, UP, BOTH), "inconclusive"),
            ((BOTH, UP, UP, UP), "inconclusive"),
            ((UP, UP, UP, DOWN), "does not hold"),
            ((DOWN, BOTH, UP, UP), "does not hold"),
        ],
    )
    def test_every_claimed_difference_decides(self, intervals, word):
        found = claims.metrics(agreement(intervals))
        assert found.id == "C2"
        assert found.verdict == f"{word} (5,664 pairs)"

    def test_the_figure_shows_agreement_and_differences(self):
        figure = claims.metrics(agreement([UP, DOWN, BOTH, UP])).figure
        taus, *gaps = figure.split("; ")
        assert taus == ", ".join(f"{metric} 0.300 [0.280, 0.321]" for metric in METRICS)
        assert gaps == [
            "CIDEr − METEOR +0.040 [+0.030, +0.050]",
            "CIDEr − ROUGE-L −0.040 [−0.050, −0.030]",
            "CIDEr − BLEU-4 +0.010 [−0.010, +0.030]",
            "METEOR − BLEU-4 +0.040 [+0.030, +0.050]",
        ]

    def test_the_crowd_does_not_decide(self):
        both = [agreement([UP] * 4), agreement([DOWN] * 4, "crowd")]
        found = claims.metrics(pd.concat(both[::-1], ignore_index=True))
        assert found.verdict == "holds (5,664 pairs)"
        assert found.figure.count("CIDEr − METEOR") == 1

    def test_no_judgements(self):
        found = claims.metrics(None)
        assert found.verdict == "not tested here: nobody has judged captions of this data"
        assert found.figure == ""


class TestHumanAgreement:
    """Flickr8k's judgements, looked at once; here drawn, and by metrics of known worth."""

    @pytest.fixture
    def results(self, sandbox, write_run):
        source = {"name": "flickr8k", "splits": "official"}
        said, given = captions([0, 1]), people(2)
        write_run(sandbox / "root", "most_frequent", 0, said, given, "flickr8k", source=source)
        return read("flickr8k")

    @pytest.fixture
    def asked(self, monkeypatch, sandbox):
        """What the judgements were asked for; the metrics see them through more or less noise."""
        asked, rng = [], np.random.default_rng(0)
        levels = rng.integers(0, 4, (150, 3))
        noise = {"BLEU-4": 9, "METEOR": 2, "ROUGE-L": 9, "CIDEr": 0.1}
        scores = {m: levels.mean(axis=1) + rng.normal(0, s, 150) for m, s in noise.items()}

        def judged(folder, judges):
            asked.append((folder, judges))
            return Judged(judges, np.arange(150) // 5, levels, pd.DataFrame(scores))

        monkeypatch.setattr(judgements, "judged", judged)
        return asked

    def test_drawn_captions_have_no_judges(self, sandbox, write_run, asked):
        said, given = captions([0, 1]), people(2)
        write_run(sandbox / "root", "resnet_lstm", 0, said, given)
        assert claims.human_agreement(read("made_up")) is None
        assert asked == []

    def test_experts_decide_and_are_asked_once(self, sandbox, results, asked):
        frame = claims.human_agreement(results)
        assert asked == [(sandbox / "data" / "flickr8k", "expert")]
        assert list(zip(frame["metric"], frame["against"], strict=True)) == [
            *((metric, "") for metric in METRICS),
            *CLAIMED,
        ]
        tau = frame[frame["against"] == ""].set_index("metric")["tau"]
        gap = frame[frame["against"] != ""].set_index(["metric", "against"])["tau"]
        for first, second in CLAIMED:
            assert gap[first, second] == pytest.approx(tau[first] - tau[second])
        assert (frame["pairs"] == 150).all()
        found = claims.ledger(results, table_of(), frame)[1]
        assert found.verdict == "holds (150 pairs)"
        again = claims.human_agreement(read("flickr8k"))
        assert len(asked) == 1
        pd.testing.assert_frame_equal(again, frame)

    def test_without_the_files_they_are_left_out(self, results, monkeypatch, capsys):
        def missing(folder, judges):
            raise StudyError(f"{folder}: no such file")

        monkeypatch.setattr(judgements, "judged", missing)
        assert claims.human_agreement(results) is None
        told = capsys.readouterr().out
        assert told.startswith("human judgements are left out: ")
        assert told.endswith("flickr8k: no such file\n")
        assert not (results.folder / "judgements.csv").exists()


@pytest.mark.parametrize(
    ("intervals", "judged", "wanted"),
    [
        ((UP, UP), [UP] * 4, "Of 2 claims 2 hold."),
        ((UP, UP), None, "Of 2 claims 1 holds, 1 is not tested here."),
        ((UP, DOWN), [BOTH] * 4, "Of 2 claims 1 does not hold, 1 is inconclusive."),
        ((UP,), None, "Of 2 claims 2 are not tested here."),
    ],
)
def test_the_tally_counts_every_kind(judge, intervals, judged, wanted):
    first = judge(THREE, *intervals)
    second = claims.metrics(None if judged is None else agreement(judged))
    assert claims.tally([first, second]) == wanted
