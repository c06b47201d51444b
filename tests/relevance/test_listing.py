"""A long JSON list in pieces, against the whole of it in one."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentences import refused
from studies.relevance import listing
from studies.relevance.listing import records

anything = st.text(st.characters(exclude_categories=()))  # surrogates and control characters too
ONE = {"name": "musée {[,]}", "tags": ["a", {"b": 1.5}], "empty": None}
GOOD = json.dumps(ONE)


def written(folder, content):
    file = folder / "list.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def collect(file):
    return list(records(file))


@given(
    added=st.lists(st.fixed_dictionaries({}, optional={"title": anything, "x": anything})),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 2]),
    raw=st.booleans(),
)
def test_reads_what_json_reads_in_pieces_of_any_size(added, chunk, indent, raw):
    text = json.dumps([ONE, *added], indent=indent, ensure_ascii=not raw)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(listing, "CHUNK", chunk)
        file = written(Path(folder), text.encode("utf-8", "replace"))
        found = collect(file)
        assert [record for _, record in found] == json.loads(file.read_text("utf-8"))
    assert [where for where, _ in found] == [f"{file} record {n + 1}" for n in range(len(found))]


def test_byte_order_mark(tmp_path):
    assert len(collect(written(tmp_path, b"\xef\xbb\xbf[" + GOOD.encode() + b"]\r\n"))) == 1


def test_one_record_at_a_time(tmp_path):
    """What is damaged later does not keep from reading what stands before."""
    stream = records(written(tmp_path, f"[{GOOD}, {GOOD[:20]}"))
    assert next(stream)[1] == ONE
    assert "record 2" in refused(next, stream)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is no JSON list"),
        ("{}", "is no JSON list"),
        ("<html>404</html>", "is no JSON list"),
        ("[]", "lists no record"),
        ("[5]", "record 1: expected `{`"),
        (f"[{GOOD}", "record 1: the file ends after it"),
        (f"[{GOOD},", "record 2: the file ends early"),
        (f"[{GOOD},]", "record 2: expected `{`"),
        (f"[{GOOD} {GOOD}]", "record 1: expected `,` or `]` after it"),
        (f"[{GOOD}] x", "goes on after the end of its list"),
        (f"[{GOOD}, {GOOD[:40]}", "record 2: is damaged"),
        (f"[{GOOD}, {{'a': 1}}]", "record 2: is damaged"),
        ('[{"a": ' + "[" * 100_000, "record 1: is nested too deeply"),
        (b'[{"title": "caf\xe9"}]', "not UTF-8"),
    ],
)
def test_bad_files(tmp_path, content, problem):
    file = written(tmp_path, content)
    message = refused(collect, file)
    assert message.startswith(str(file))
    assert problem in message


def test_missing_file(tmp_path):
    assert "no such file; put" in refused(collect, tmp_path / "captions.json")


def test_damage_at_the_start_of_a_long_file_is_found_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "CHUNK", 10)
    monkeypatch.setattr(listing, "LONGEST", 1000)
    file = written(tmp_path, f'[{{"a" 5}}, {", ".join([GOOD] * 5000)}]')
    with file.open() as stream:
        window = listing._Window(stream)
        window.mark()
        window.skip()
        assert "is damaged" in refused(window.value, "here")
        assert len(window.text) < 5000  # of a million
