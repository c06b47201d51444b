"""Which systems are compared, and what the tests say, on run folders written by hand."""

import numpy as np
import pytest

from spoken import IMAGES, Spoken, captions, people
from studies.captioning.comparisons import paired_tests
from studies.captioning.results import read
from studies.reporting import bootstrap
from studies.reporting.tables import BOOTSTRAP

pytestmark = pytest.mark.usefixtures("few_resamples")

METRICS = {"bleu4": "BLEU-4", "meteor": "METEOR", "rouge_l": "ROUGE-L", "cider": "CIDEr"}
RNG = np.random.default_rng(1)
# errors of a system on each image, see `spoken.captions`
POOR, FAIR, GOOD = (RNG.integers(low, low + 3, IMAGES).tolist() for low in (2, 1, 0))
COLUMNS = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]


@pytest.fixture
def write(sandbox, write_run):
    def write(system, errors, seed=0, dataset="made_up"):
        write_run(sandbox / "root", system, seed, captions(errors), people(), dataset)

    return write


def scores(*errors):
    return [Spoken(captions(one), people()) for one in errors]


def by_metric(rows):
    return rows.set_index("metric")


class TestPairs:
    def test_every_two_systems_in_the_order_of_the_table(self, write):
        for system in ("clip_transformer", "most_frequent", "resnet_lstm@wide", "resnet_lstm"):
            write(system, FAIR)
        rows = paired_tests(read("made_up"))
        assert list(rows.columns) == COLUMNS
        order = ["most_frequent", "resnet_lstm", "clip_transformer", "resnet_lstm@wide"]
        wanted = [(a, b, m) for k, a in enumerate(order) for b in order[k + 1 :] for m in METRICS]
        found = rows[["first", "second", "metric"]].itertuples(index=False, name=None)
        assert list(found) == wanted
        assert set(rows["test"]) == {BOOTSTRAP}

    def test_one_system_has_no_comparison(self, write):
        write("resnet_lstm", FAIR)
        rows = paired_tests(read("made_up"))
        assert rows.empty
        assert list(rows.columns) == COLUMNS

    def test_without_a_common_seed_there_is_no_row(self, write):
        write("resnet_lstm", FAIR, 0)
        write("resnet_transformer", FAIR, 0)
        write("clip_transformer", GOOD, 1)
        rows = paired_tests(read("made_up"))
        assert set(zip(rows["first"], rows["second"], strict=True)) == {
            ("resnet_lstm", "resnet_transformer")
        }


class TestDifferences:
    def test_second_minus_first(self, write):
        write("resnet_lstm", POOR)
        write("clip_transformer", FAIR)
        rows = by_metric(paired_tests(read("made_up")))
        first, second = (one.corpus() for one in scores(POOR, FAIR))
        for name, metric in METRICS.items():
            assert rows.loc[name, "difference"] == pytest.approx(second[metric] - first[metric])
        assert (rows["difference"] > 0).all()
        assert (rows["seeds"] == 1).all()

    def test_seeds_in_common_are_averaged_and_resampled(self, write):
        first = {0: POOR, 1: FAIR, 2: POOR[::-1]}
        second = {1: GOOD, 2: FAIR[::-1], 9: GOOD[::-1]}
        for seed, errors in first.items():
            write("resnet_lstm", errors, seed)
        for seed, errors in second.items():
            write("clip_transformer", errors, seed)
        rows = by_metric(paired_tests(read("made_up")))
        a, b = (scores(*(given[seed] for seed in (1, 2))) for given in (first, second))
        assert (rows["seeds"] == 2).all()
        for name, metric in METRICS.items():
            gaps = [y.corpus()[metric] - x.corpus()[metric] for x, y in zip(a, b, strict=True)]
            assert rows.loc[name, "difference"] == pytest.approx(np.mean(gaps))
            samples = bootstrap.bootstrap(
                lambda items, k, m=metric: (
                    b[k].corpus(items.tolist())[m] - a[k].corpus(items.tolist())[m]
                ),
                IMAGES,
                2,
            )
            assert rows.loc[name, ["ci_low", "ci_high"]].tolist() == pytest.approx(
                bootstrap.interval(samples), rel=1e-6
            )
            assert rows.loc[name, "p"] == pytest.approx(bootstrap.bootstrap_p(samples))

    @pytest.mark.parametrize("baseline", ["most_frequent", "nearest_neighbour@pooled"])
    def test_a_baseline_stands_against_every_seed(self, write, baseline):
        # the plain one comes first in a pair, its variant second
        write(baseline, POOR, 0)
        write("resnet_lstm", FAIR, 3)
        write("resnet_lstm", GOOD, 5)
        rows = by_metric(paired_tests(read("made_up")))
        (poor, fair, good), sign = scores(POOR, FAIR, GOOD), -1 if "@" in baseline else 1
        assert set(rows["second" if sign < 0 else "first"]) == {baseline}
        assert (rows["seeds"] == 2).all()
        for name, metric in METRICS.items():
            gap = np.mean([one.corpus()[metric] for one in (fair, good)]) - poor.corpus()[metric]
            assert rows.loc[name, "difference"] == pytest.approx(sign * gap)
            low, high = sorted(sign * rows.loc[name, ["ci_low", "ci_high"]])
            assert 0 < low < gap < high

    def test_two_baselines(self, write):
        write("most_frequent", POOR)
        write("nearest_neighbour", FAIR)
        rows = by_metric(paired_tests(read("made_up")))
        poor, fair = (one.corpus() for one in scores(POOR, FAIR))
        assert (rows["seeds"] == 1).all()
        assert rows.loc["cider", "difference"] == pytest.approx(fair["CIDEr"] - poor["CIDEr"])

    def test_backwards_is_the_same_with_the_other_sign(self, write):
        found = []
        for dataset, order in {"there": (POOR, FAIR), "back": (FAIR, POOR)}.items():
            for system, errors in zip(("resnet_lstm", "clip_transformer"), order, strict=True):
                write(system, errors, dataset=dataset)
            found.append(paired_tests(read(dataset)))
        there, back = found
        for column, other in {"difference": "difference", "ci_low": "ci_high"}.items():
            assert there[column].tolist() == pytest.approx((-back[other]).tolist())
        assert there["p"].tolist() == back["p"].tolist()


class TestP:
    def test_a_clear_difference(self, write):
        write("resnet_lstm", POOR)
        write("clip_transformer", [0] * IMAGES)
        rows = paired_tests(read("made_up"))
        assert (rows["ci_low"] > 0).all()
        # none of 200 resamples is on the other side
        assert rows["p"].tolist() == pytest.approx([2 / 201] * 4)

    def test_none(self, write):
        for system in ("resnet_lstm", "clip_transformer"):
            write(system, FAIR)
        rows = paired_tests(read("made_up"))
        assert (rows["difference"] == 0).all()
        assert (rows["p"] == 1).all()

    def test_the_same_errors_on_other_images(self, write):
        write("resnet_lstm", FAIR)
        write("clip_transformer", RNG.permutation(FAIR).tolist())
        rows = paired_tests(read("made_up"))
        assert (rows["p"] > 0.2).all()
        assert (rows["ci_low"] < 0).all()
        assert (rows["ci_high"] > 0).all()
