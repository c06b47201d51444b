"""The kitchen in the cache: under names that earlier caches have, as it is drawn."""

import hashlib

import kitchen
from studies.inputs import reading

JUDGES = "b6e0976593aabd441208e55df715c1c4f0d07c1c460cb8ba7aaa45c8d61fd43a"


def contents(folder) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()]


def test_pictures_are_made_once_and_judgements_are_frozen(sandbox):
    folder = reading.kitchen(1, 3)
    assert folder == sandbox / "root" / "cache" / "kitchen1-1-3"
    judged = reading.judged(2)
    assert judged == sandbox / "root" / "cache" / "judges1-2-0"
    assert hashlib.sha256(b"\n\n".join(contents(judged))).hexdigest() == JUDGES
    kitchen.write_images(sandbox / "again", kitchen.plates(1, 3))
    assert contents(folder) == contents(sandbox / "again")
    made = folder.stat().st_ino
    assert reading.kitchen(1, 3).stat().st_ino == made
