"""Tables of a user's own: what is read of them, and what is refused with its line."""

import unicodedata

import pytest
from PIL import Image

from sentences import refused
from studies.inputs.tables import own_table, read_lines

IMAGES = ("a.png", "b/a.png", "b/b c.png")
ROWS = ["image,dish,split", "a.png,Ramen,Train", 'b/../b/a.png,"Udon, cold",val', "b/b c.png,Pho,"]


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table beside three images, some of its lines replaced."""
    for name in IMAGES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)

    def write(**lines):
        rows = [lines.get(f"line{number}", row) for number, row in enumerate(ROWS, 1)]
        (tmp_path / "own.csv").write_text("\n".join(rows), encoding="utf-8")
        return tmp_path / "own.csv"

    return write


def read(file):
    return own_table(file, ["image", "dish"], ["variant"], once="image", names=["dish"])


def test_paths_names_and_parts(table):
    decomposed = unicodedata.normalize("NFD", "Phở\u200b")
    rows = read(table(line4=f"b/b c.png,{decomposed},TEST"))
    assert rows["image"].tolist() == list(IMAGES)
    assert rows["dish"].tolist() == ["Ramen", "Udon, cold", unicodedata.normalize("NFC", "Phở")]
    assert rows["part"].tolist() == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (1, "image,dishes,split", ": unknown column `dishes`; did you mean `dish`?"),
        (1, "image,variant,split", ": has no column `dish`; its columns: image, dish, variant"),
        (1, "image,dish,variant", " line 4: has no variant"),
        (2, "a.png,,train", " line 2: has no dish; fill the cell"),
        (2, "a.png,\u200b,train", " line 2: has no dish"),
        (2, "c.png,Ramen,train", " line 2: there is no image `c.png`"),
        (2, "b,Ramen,train", " line 2: there is no image `b`"),
        (2, "../a.png,Ramen,train", " line 2: `../a.png` is no path below the table's folder"),
        (3, "./a.png,Udon,val", " line 3: `a.png` is listed twice"),
        (3, "b/a.png,ramen,val", " line 3: `ramen` and `Ramen` differ only by case"),
        (3, "b/a.png,Udon,dev", " line 3: split should be train, val or test, not `dev`"),
        (3, "b/a.png,Udon, cold,val", " line 3: has 4 cells for 3 columns"),
    ],
)
def test_faults_are_told_with_their_line(table, line, text, said):
    lines = {"line4": "b/b c.png,Pho,test"} if line != 1 else {}
    file = table(**{**lines, f"line{line}": text})
    assert refused(read, file).startswith(f"{file}{said}")


def test_lines_of_a_form(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbf\n id size\r\n a 1\n\n b\x0c 2 \n")
    rows = read_lines(file, r"(?P<id>\w)\s+(?P<size>\d)", "an id and a size", "id")
    assert rows.to_dict("split") == {
        "index": [f"{file} line 3", f"{file} line 5"],
        **{"columns": ["id", "size"], "data": [["a", "1"], ["b", "2"]]},
    }
    asked = file, r"(?P<id>\w) (?P<size>\d)", "an id and a size"
    assert refused(read_lines, *asked).startswith(f"{file} line 2: expected an id and a size, fou")
    file.write_text("\n")
    assert refused(read_lines, *asked).startswith(f"{file}: expected an id")
