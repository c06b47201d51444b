"""Datasets come whole or not at all, from servers that break off and archives that lie."""

import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from loopback import Site, tarred, zipped
from sentences import refused
from studies.inputs import download
from studies.inputs.download import SOURCES, Part, Source, fetch, main, require


@pytest.fixture
def site():
    site = Site()
    yield site
    site.close()


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("STUDIES_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


CONTENT = {"list.txt": b"a\nb\n", "images/a.jpg": os.urandom(300_000), "images/b.jpg": b"bbb"}


@pytest.fixture
def publish(site, monkeypatch):
    """Publish an archive as the dataset `plates`."""

    def publish(body: bytes, sha256: str | None = None, file: str = "plates.zip") -> None:
        site.files[f"/{file}"] = body
        part = Part(f"{site.address}/{file}", lands="plates", holds="list.txt", sha256=sha256)
        monkeypatch.setitem(SOURCES, "plates", Source("CC0", "300 kB", (part,)))

    return publish


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestFetch:
    @pytest.mark.parametrize("top", ["", "plates-master/"])
    @pytest.mark.parametrize("pack", [zipped, tarred])
    def test_unpacks_with_and_without_a_top_folder(self, publish, site, data, pack, top):
        publish(pack(CONTENT, top), file="plates.archive")
        assert fetch("plates") == data / "plates"
        assert tree(data / "plates") == CONTENT
        # A private folder would shut out the other users of a shared data disk.
        assert stat.S_IMODE((data / "plates").stat().st_mode) & 0o055 == 0o055
        # The archive is not kept, only its checksum.
        assert set(tree(data / "downloads/plates")) == {".lock", "plates.archive.sha256"}
        shutil.rmtree(data / "downloads")
        fetch("plates")
        assert len(site.asked) == 1

    def test_a_cut_connection_is_taken_up_where_it_broke(self, publish, site, data):
        body = zipped(CONTENT)
        publish(body, hashlib.sha256(body).hexdigest())
        site.cut_after = [100_000, 50_000]
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert [status for *_, status in site.asked] == [200, 206, 206]
        starts = [int(span[6:-1]) for _, span, _ in site.asked[1:]]
        assert 0 <= 100_000 - starts[0] < download.BLOCK
        assert 0 <= 50_000 - (starts[1] - starts[0]) < download.BLOCK

    def test_the_next_call_goes_on_where_this_one_gave_up(self, publish, site, data):
        publish(zipped(CONTENT))
        site.cut_after = [100_000, 0]
        assert "run the same command again to go on" in refused(fetch, "plates")
        assert [path.name for path in data.iterdir()] == ["downloads"]
        size = (data / "downloads/plates/plates.zip.part").stat().st_size
        assert 0 <= 100_000 - size < download.BLOCK
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert site.asked[-1][1:] == (f"bytes={size}-", 206)

    def test_two_versions_of_a_file_are_not_mixed(self, publish, site, data):
        publish(zipped(CONTENT))
        site.cut_after = [100_000, 0]
        refused(fetch, "plates")
        changed = CONTENT | {"images/a.jpg": os.urandom(300_000)}
        publish(zipped(changed))
        site.etag = '"two"'
        fetch("plates")
        assert tree(data / "plates") == changed

    @pytest.mark.parametrize("extra", [b"", b"more than the file has"])
    def test_a_part_that_is_already_whole_or_too_long(self, publish, site, data, extra):
        body = zipped(CONTENT)
        publish(body)
        (data / "downloads/plates").mkdir(parents=True)
        (data / "downloads/plates/plates.zip.part").write_bytes(body + extra)
        (data / "downloads/plates/plates.zip.etag").write_text(site.etag)
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert [status for *_, status in site.asked] == [416, 200]

    def test_an_archive_put_there_by_hand_is_used_and_kept(self, publish, site, data):
        file = data / "downloads/plates/plates.zip"
        file.parent.mkdir(parents=True)
        file.write_bytes(zipped(CONTENT))
        publish(b"never asked for", "0" * 64)
        assert "another checksum" in refused(fetch, "plates")
        publish(b"never asked for")
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert site.asked == []
        assert file.exists()

    def test_what_a_killed_unpacking_left_is_cleared(self, publish, data):
        publish(zipped(CONTENT, "plates-master/"))
        left = data / "downloads/plates/partial/images"
        left.mkdir(parents=True)
        (left / "half.jpg").write_bytes(b"half")
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert set(tree(data / "downloads")) == {"plates/.lock", "plates/plates.zip.sha256"}


class TestChecksums:
    def test_a_wrong_checksum_leaves_nothing(self, publish, data):
        publish(zipped(CONTENT), "0" * 64)
        assert f"another checksum than expected ({'0' * 64})" in refused(fetch, "plates")
        assert [path.name for path in data.iterdir()] == ["downloads"]
        assert set(tree(data / "downloads/plates")) == {".lock"}

    def test_an_unknown_one_is_noted_and_compared_afterwards(self, publish, data):
        body = zipped(CONTENT)
        publish(body)
        fetch("plates")
        note = data / "downloads/plates/plates.zip.sha256"
        assert note.read_text() == f"{hashlib.sha256(body).hexdigest()}  plates.zip\n"
        shutil.rmtree(data / "plates")
        fetch("plates")
        shutil.rmtree(data / "plates")
        publish(zipped(CONTENT | {"list.txt": b"other"}))
        assert f"delete {note}" in refused(fetch, "plates")
        assert not (data / "plates").exists()
        note.unlink()
        fetch("plates")
        assert (data / "plates/list.txt").read_bytes() == b"other"


def with_member(make, content: bytes = b"") -> bytes:
    """A tar archive with one crafted member beside honest ones."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        honest = tarfile.TarInfo("list.txt")
        archive.addfile(honest)
        member = make()
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zip_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("list.txt", b"")
        member = zipfile.ZipInfo("images")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "../..")
    return buffer.getvalue()


HARMLESS = {
    "tar, absolute": lambda: with_member(lambda: tarfile.TarInfo("/tmp/evil-of-studies"), b"x"),
    "tar, link": lambda: with_member(lambda: link("same.txt", "list.txt")),
    "zip, link": zip_link,
}
HOSTILE = {
    "zip, parent": lambda: zipped({"list.txt": b"", "../evil": b"x"}),
    "zip, absolute": lambda: zipped({"list.txt": b"", "/tmp/evil-of-studies": b"x"}),
    "zip, backslashes": lambda: zipped({"list.txt": b"", "..\\evil": b"x"}),
    "zip, drive": lambda: zipped({"list.txt": b"", "C:/evil": b"x"}),
    "tar, parent": lambda: with_member(lambda: tarfile.TarInfo("../evil"), b"x"),
    "tar, link out": lambda: with_member(lambda: link("images", "../..")),
    "tar, absolute link": lambda: with_member(lambda: link("images", "/tmp")),
    "tar, hard link out": lambda: with_member(lambda: link("h", "../../x", tarfile.LNKTYPE)),
    "tar, device": lambda: with_member(lambda: link("null", "", tarfile.CHRTYPE)),
}


class TestArchives:
    @pytest.mark.parametrize("kind", HOSTILE)
    def test_what_reaches_outside_is_refused_whole(self, publish, data, tmp_path, kind):
        publish(HOSTILE[kind]())
        assert "unsafe (" in refused(fetch, "plates")
        assert [path.name for path in data.iterdir()] == ["downloads"]
        assert set(tree(data / "downloads/plates")) == {".lock"}
        assert [path.name for path in tmp_path.iterdir()] == ["data"]
        assert not Path("/tmp/evil-of-studies").exists()

    @pytest.mark.parametrize("kind", HARMLESS)
    def test_what_only_seems_to_stays_inside(self, publish, data, kind):
        publish(HARMLESS[kind]())
        fetch("plates")
        assert all(path.resolve().is_relative_to(data) for path in data.rglob("*"))
        assert not Path("/tmp/evil-of-studies").exists()

    @pytest.mark.parametrize("pack", [zipped, tarred])
    def test_damaged(self, publish, data, pack):
        whole = pack(CONTENT)
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes(50) + whole[middle + 50 :]
        other = pack({"readme.txt": b"moved"})
        for body in (whole[:middle], flipped, b"<html>please log in</html>", other):
            publish(body)
            message = refused(fetch, "plates")
            assert ("holds no list.txt" if body == other else "damaged") in message
            assert [path.name for path in data.iterdir()] == ["downloads"]
        publish(whole)
        fetch("plates")
        assert tree(data / "plates") == CONTENT

    @pytest.mark.parametrize("pack", [zipped, tarred])
    def test_what_does_not_fit_the_disk_is_stopped(
        self, publish, data, tmp_path, monkeypatch, pack
    ):
        usage = shutil.disk_usage(tmp_path)._replace(free=40_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        publish(pack({"list.txt": b"", "bomb": bytes(50_000_000)}))
        assert "needs 0.1 GB" in refused(fetch, "plates")
        assert [path.name for path in data.iterdir()] == ["downloads"]


class TestWhatTheUserIsTold:
    def test_the_server_says_no(self, publish, site, data):
        publish(zipped(CONTENT))
        site.files.clear()
        assert f"put it at {data}/downloads/plates/plates.zip" in refused(fetch, "plates")
        assert len(site.asked) == 1
        site.close()
        assert f"{site.address}/plates.zip could not be fetched" in refused(fetch, "plates")

    def test_another_folder_in_the_way(self, publish, data):
        publish(zipped(CONTENT))
        (data / "plates").mkdir(parents=True)
        (data / "plates/own.txt").write_text("mine")
        assert "plates is there but holds no list.txt" in refused(fetch, "plates")
        assert tree(data / "plates") == {"own.txt": b"mine"}

    def test_require_names_place_and_command(self, data):
        message = refused(require, "grocery", data / "grocery/dataset")
        assert str(data / "grocery/dataset") in message
        assert "studies.inputs.download grocery" in message
        (data / "grocery/dataset").mkdir(parents=True)
        assert require("grocery", data / "grocery/dataset") == data / "grocery/dataset"

    def test_command(self, publish, data, capsys):
        publish(zipped(CONTENT))
        main(["plates"])
        assert capsys.readouterr().out == f"plates: {data / 'plates'}\n"
        with pytest.raises(SystemExit):
            main(["groceries"])
        assert "grocery" in capsys.readouterr().err


CAPTIONS = "5cf98361f5e67661fd5b2c6ee219567484440da9"


class TestSources:
    @pytest.fixture(autouse=True)
    def _the_internet_is_here(self, site, monkeypatch):
        site.stand_in(monkeypatch)

    def test_published_layouts_land_where_the_loaders_look(self, site, data):
        """The real table, its hosts replaced by the loopback site."""
        site.files = {
            "/marcusklasson/GroceryStoreDataset/archive/refs/heads/master.zip": zipped(
                {"dataset/train.txt": b"", "LICENSE": b""}, "GroceryStoreDataset-master/"
            ),
            "/downloads/hyper-kvasir/hyper-kvasir-labeled-images.zip": zipped(
                {"image-labels.csv": b"", "lower-gi-tract/x/y.jpg": b""}, "labeled-images/"
            ),
            "/simula/hyper-kvasir/master/official_splits/2_fold_split.csv": b"file-name\n",
            "/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_Dataset.zip": zipped(
                {"1000268201_693b08cb0e.jpg": b""}, "Flicker8k_Dataset/"
            ),
            "/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_text.zip": zipped(
                {"Flickr8k.token.txt": b""}
            ),
            "/dataset256.zip": zipped({"category.txt": b""}, "UECFOOD256/"),
            f"/mlfoundations/imagenet-captions/raw/{CAPTIONS}/imagenet_captions.zip": zipped(
                {"imagenet_captions.json": b"[]"}
            ),
        }
        for name in ("grocery", "hyperkvasir", "flickr8k", "uecfood256", "imagenet_captions"):
            fetch(name)
        assert {name for name in tree(data) if not name.startswith("downloads/")} == {
            "grocery/LICENSE",
            "grocery/dataset/train.txt",
            "flickr8k/Flicker8k_Dataset/1000268201_693b08cb0e.jpg",
            "flickr8k/Flickr8k_text/Flickr8k.token.txt",
            "hyperkvasir/2_fold_split.csv",
            "hyperkvasir/labeled-images/image-labels.csv",
            "hyperkvasir/labeled-images/lower-gi-tract/x/y.jpg",
            "imagenet_captions/imagenet_captions.json",
            "uecfood256/UECFOOD256/category.txt",
        }
        plain = {"food101", "uecfood256", "coco"}  # published by http, without the s
        for name, source in SOURCES.items():
            for part in source.parts:
                assert part.url.startswith("http://" if name in plain else "https://")

    def test_the_pages_of_imagenet_are_those_of_one_commit(self, site):
        (part,) = SOURCES["imagenet_wiki"].parts
        site.files = {f"/{part.url.split('/', 3)[3]}": b"n02509815, Red panda\n"}
        assert "another checksum than expected" in refused(fetch, "imagenet_wiki")

    @pytest.mark.parametrize("name", ["ingredients101", "recipes5k"])
    def test_what_must_be_got_by_hand(self, site, data, name):
        """The sentence names the page and the folder, and what was put there is found."""
        assert f"{name}/annotations/" in refused(fetch, name)
        assert f"is not at {data / name}: " in refused(require, name, data / name)
        (data / name / "annotations").mkdir(parents=True)
        assert fetch(name) == require(name, data / name) == data / name
        assert site.asked == []
