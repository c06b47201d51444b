"""A command prints what it made, or ends in one sentence."""

import pytest

from studies import paths
from studies.paths import StudyError, dataset_argument, run_command


def failing(error):
    def work():
        raise error

    return work


def test_it_prints_what_was_made(capsys, tmp_path):
    run_command(lambda: paths.REPOSITORY / "runs" / "tiny")
    run_command(lambda: tmp_path / "page.html")
    assert capsys.readouterr() == (f"runs/tiny\n{tmp_path / 'page.html'}\n", "")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (StudyError("no such dataset"), "error: no such dataset"),
        (KeyboardInterrupt(), "stopped; the same command goes on from here"),
    ],
)
def test_it_ends_in_one_sentence(capsys, error, sentence):
    with pytest.raises(SystemExit) as ended:
        run_command(failing(error))
    assert ended.value.code == sentence  # Python writes it to stderr, and the exit status is 1
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_the_code_is_no_sentence():
    with pytest.raises(ZeroDivisionError):
        run_command(failing(ZeroDivisionError()))


def test_the_argument_is_a_dataset(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["report.py", "tiny"])
    assert dataset_argument("Make pages.") == "tiny"
    monkeypatch.setattr("sys.argv", ["report.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        dataset_argument("Make pages.")
    assert "Make pages." in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["tiny", "demo"]])
def test_other_arguments_are_refused(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["report.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        dataset_argument("Make pages.")
    assert "usage: report.py" in capsys.readouterr().err
