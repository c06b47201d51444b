"""What a system takes for what, from runs of known content."""

import pytest

from studies.runs.folder import load_run
from studies.triplets import mistakes
from studies.triplets.results import of_runs

TRUE = ["hot_dish/soup/pea_soup"] * 4 + ["sweet/tart/cherry_tart"] * 3
WRONG = [TRUE[-1], *TRUE[1:-1], TRUE[0]]  # the first and the last are severe errors


@pytest.fixture
def runs(sandbox, write_run):
    return [load_run(write_run(sandbox / "root", "triplet", 0, TRUE, WRONG))]


def test_severe_errors_come_surest_first(runs):
    found = mistakes.severe(runs[0], 5)
    sure = runs[0].predictions["confidence"].iloc[[0, -1]]
    assert [file.name for file, _ in found] == (
        ["000.png", "006.png"] if sure.iloc[0] > sure.iloc[1] else ["006.png", "000.png"]
    )
    shown = dict(zip([file.name for file, _ in found], [text for _, text in found], strict=True))
    words = "pea soup (hot dish) taken for cherry tart (sweet), "
    assert shown["000.png"].startswith(f"{words}{100 * sure.iloc[0]:.0f}\N{NO-BREAK SPACE}%")
    assert len(mistakes.severe(runs[0], 1)) == 1


def test_without_a_severe_error_there_is_no_picture(sandbox, write_run):
    run = load_run(write_run(sandbox / "root", "flexible", 0, TRUE, TRUE))
    assert mistakes.severe_pictures(run) == "no severe error"


def test_confusion_counts_every_seed(sandbox, write_run):
    runs = [
        load_run(write_run(sandbox / "root", "triplet", seed, TRUE, predicted))
        for seed, predicted in enumerate([TRUE, WRONG])
    ]
    top = mistakes.confusion(of_runs(runs), "triplet", 1).axes[0]
    assert [label.get_text() for label in top.get_yticklabels()] == ["hot dish", "sweet"]
    assert [text.get_text() for text in top.texts] == ["7", "1", "1", "5"]


def test_confused_pairs_are_counted_over_seeds(sandbox, write_run):
    pea, tart, bread = "hot_dish/soup/pea_soup", "sweet/tart/cherry_tart", "sweet/bread/rye"
    true = [pea] * 4 + [tart] * 3 + [bread] * 2
    answers = [
        [tart, tart, pea, pea, tart, bread, tart, bread, bread],
        [tart, pea, pea, pea, bread, bread, pea, bread, bread],
    ]
    runs = [
        load_run(write_run(sandbox / "root", "triplet", seed, true, predicted))
        for seed, predicted in enumerate(answers)
    ]
    table = mistakes.confused_pairs(of_runs(runs), "triplet")
    columns = ["true", "taken for", "times", "of test images"]
    assert list(table.columns) == columns
    pea, tart, bread = "pea soup (hot dish)", "cherry tart (sweet)", "rye (sweet)"
    rows = [tuple(row) for row in table.to_numpy().tolist()]
    assert rows[2:] == [(tart, pea, 1, 6)]
    assert set(rows[:2]) == {(pea, tart, 3, 8), (tart, bread, 3, 6)}
    assert len(mistakes.confused_pairs(of_runs(runs), "triplet", most=1)) == 1
