"""Text files: what is read of them, and what is said of those that cannot be."""

import pytest

from sentences import refused
from studies.inputs.reading import lines, read_text

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def write(tmp_path):
    def written(content: bytes):
        file = tmp_path / "list.txt"
        file.write_bytes(content)
        return file

    return written


@pytest.mark.parametrize("mark", [b"", BOM])
def test_text_with_and_without_a_byte_order_mark(write, mark):
    assert read_text(write(mark + b"caf\xc3\xa9\r\nend")) == "caf\u00e9\r\nend"


def test_what_cannot_be_read(tmp_path):
    for file in (tmp_path / "no.txt", tmp_path):
        assert refused(read_text, file, "write it").endswith("; write it")


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize(("before", "line"), [(b"", 1), (b"a\nb\r\nc", 3), (b"\n\n\n", 4)])
def test_other_encodings(write, mark, before, line):
    file = write(mark + before + b"caf\xe9\n\n")
    assert refused(read_text, file).startswith(f"{file} line {line}: is not UTF-8")


TEXT = BOM + "\n a b \r\n\n\tc\rd\u2028e\x0cf\n \r\n\n".encode()


def test_lines_keep_their_numbers(write):
    assert lines(write(TEXT)) == ["", "a b", "", "c\rd\u2028e\x0cf"]


@pytest.mark.parametrize("content", [b"", BOM, b"\n \r\n\t"])
def test_no_text(write, content):
    file = write(content)
    assert refused(lines, file).startswith(f"{file}: is empty")
