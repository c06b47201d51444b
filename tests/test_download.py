import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from loopback import Site, tarred, zipped
from studies.inputs import archives, transfer
from studies.inputs.download import fetch, main, require
from studies.inputs.published import SOURCES, Part, Source
from studies.paths import REPOSITORY, StudyError
from studies.relevance.captions import imagenet_captions
from studies.relevance.collect import CORRESPONDENCES, published
from studies.relevance.data import FILE
from studies.triplets import sources


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
        source = Source("plates", "plates", "CC0", "300 kB", (part,))
        monkeypatch.setitem(SOURCES, "plates", source)

    return publish


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def nothing_but_downloads(data: Path) -> bool:
    return {path.name for path in data.iterdir()} == {"downloads"}


class TestFetch:
    @pytest.mark.parametrize("top", ["", "plates-master/"])
    @pytest.mark.parametrize("pack", [zipped, tarred])
    def test_unpacks_with_and_without_a_top_folder(self, publish, data, pack, top):
        publish(pack(CONTENT, top), file="plates.archive")
        assert fetch("plates") == data / "plates"
        assert tree(data / "plates") == CONTENT
        # A private folder would shut out the other users of a shared data disk.
        assert stat.S_IMODE((data / "plates").stat().st_mode) & 0o055 == 0o055
        # The archive is not kept, only its checksum.
        assert set(tree(data / "downloads/plates")) == {".lock", "plates.archive.sha256"}

    def test_what_is_there_is_not_fetched(self, publish, site, data):
        publish(zipped(CONTENT))
        fetch("plates")
        fetch("plates")
        assert len(site.asked) == 1
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
        assert 0 <= 100_000 - starts[0] < transfer.BLOCK
        assert 0 <= 50_000 - (starts[1] - starts[0]) < transfer.BLOCK

    def test_the_next_call_goes_on_where_this_one_gave_up(self, publish, site, data):
        publish(zipped(CONTENT))
        site.cut_after = [100_000, 0]
        with pytest.raises(StudyError, match="run the same command again to go on") as caught:
            fetch("plates")
        assert "\n" not in str(caught.value)
        assert nothing_but_downloads(data)
        size = (data / "downloads/plates/plates.zip.part").stat().st_size
        assert 0 <= 100_000 - size < transfer.BLOCK
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert site.asked[-1][1:] == (f"bytes={size}-", 206)

    def test_a_server_that_cannot_resume_starts_anew(self, publish, site, data):
        publish(zipped(CONTENT))
        site.ranges = False
        site.cut_after = [100_000]
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert [status for *_, status in site.asked] == [200, 200]

    def test_two_versions_of_a_file_are_not_mixed(self, publish, site, data):
        publish(zipped(CONTENT))
        site.cut_after = [100_000, 0]
        with pytest.raises(StudyError):
            fetch("plates")
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
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert [status for *_, status in site.asked] == [416, 200][: 2 if extra else 1]

    def test_an_archive_put_there_by_hand_is_used_and_kept(self, publish, site, data):
        publish(b"never asked for")
        (data / "downloads/plates").mkdir(parents=True)
        (data / "downloads/plates/plates.zip").write_bytes(zipped(CONTENT))
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert site.asked == []
        assert (data / "downloads/plates/plates.zip").exists()

    def test_a_single_file_beside_an_archive(self, publish, site, data, monkeypatch):
        publish(zipped(CONTENT))
        site.files["/split.csv"] = b"id,fold\n"
        parts = (
            Part(f"{site.address}/plates.zip", "kitchen/plates", "list.txt"),
            Part(f"{site.address}/split.csv", "kitchen/split.csv"),
        )
        source = Source("kitchen", "kitchen", "CC0", "small", parts)
        monkeypatch.setitem(SOURCES, "kitchen", source)
        assert fetch("kitchen") == data / "kitchen"
        assert {path.name for path in (data / "kitchen").iterdir()} == {"plates", "split.csv"}
        assert (data / "kitchen/split.csv").read_bytes() == b"id,fold\n"
        (data / "kitchen/split.csv").unlink()
        fetch("kitchen")
        assert [path for path, *_ in site.asked] == ["/plates.zip", "/split.csv", "/split.csv"]

    def test_what_a_killed_unpacking_left_is_cleared(self, publish, data):
        publish(zipped(CONTENT))
        (data / ".plates.unpacking/images").mkdir(parents=True)
        (data / ".plates.unpacking/images/half.jpg").write_bytes(b"half")
        fetch("plates")
        assert tree(data / "plates") == CONTENT
        assert not (data / ".plates.unpacking").exists()


class TestChecksums:
    def test_a_wrong_checksum_leaves_nothing(self, publish, data):
        publish(zipped(CONTENT), "0" * 64)
        with pytest.raises(StudyError, match=r"another checksum than expected \(0{64}\)"):
            fetch("plates")
        assert nothing_but_downloads(data)
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
        with pytest.raises(StudyError, match=r"delete \S+plates\.zip\.sha256 and fetch again"):
            fetch("plates")
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


HOSTILE = {
    "zip, parent": lambda: zipped({"list.txt": b"", "../evil": b"x"}),
    "zip, parent deep inside": lambda: zipped({"list.txt": b"", "a/b/../../../evil": b"x"}),
    "zip, absolute": lambda: zipped({"list.txt": b"", "/tmp/evil-of-studies": b"x"}),
    "zip, backslashes": lambda: zipped({"list.txt": b"", "..\\evil": b"x"}),
    "zip, drive": lambda: zipped({"list.txt": b"", "C:/evil": b"x"}),
    "zip, link": zip_link,
    "tar, parent": lambda: with_member(lambda: tarfile.TarInfo("../evil"), b"x"),
    "tar, absolute": lambda: with_member(lambda: tarfile.TarInfo("/tmp/evil-of-studies"), b"x"),
    "tar, link out": lambda: with_member(lambda: link("images", "../..")),
    "tar, absolute link": lambda: with_member(lambda: link("images", "/tmp")),
    "tar, hard link out": lambda: with_member(lambda: link("h", "../../x", tarfile.LNKTYPE)),
    "tar, device": lambda: with_member(lambda: link("null", "", tarfile.CHRTYPE)),
}


class TestArchives:
    @pytest.mark.parametrize("kind", HOSTILE)
    def test_what_reaches_outside_is_refused_whole(self, publish, data, tmp_path, kind):
        publish(HOSTILE[kind]())
        with pytest.raises(StudyError, match="was refused: its member") as caught:
            fetch("plates")
        assert type(caught.value) is StudyError
        assert nothing_but_downloads(data)
        assert set(tree(data / "downloads/plates")) == {".lock"}
        assert [path.name for path in tmp_path.iterdir()] == ["data"]
        assert not Path("/tmp/evil-of-studies").exists()

    def test_a_link_within_a_tar_is_kept(self, publish, data):
        publish(with_member(lambda: link("same.txt", "list.txt")))
        fetch("plates")
        assert (data / "plates/same.txt").resolve() == (data / "plates/list.txt").resolve()

    @pytest.mark.parametrize("pack", [zipped, tarred])
    @pytest.mark.parametrize("damage", ["cut", "flipped"])
    def test_damaged(self, publish, data, pack, damage):
        body = bytearray(pack(CONTENT))
        if damage == "cut":
            body = body[: len(body) // 2]
        else:
            body[len(body) // 2 : len(body) // 2 + 50] = bytes(50)
        publish(bytes(body))
        with pytest.raises(StudyError, match="damaged"):
            fetch("plates")
        assert nothing_but_downloads(data)
        publish(pack(CONTENT))
        fetch("plates")
        assert tree(data / "plates") == CONTENT

    def test_no_archive_at_all(self, publish):
        publish(b"<html>please log in</html>")
        with pytest.raises(StudyError, match="neither a zip nor a tar"):
            fetch("plates")

    def test_another_layout(self, publish, data):
        publish(zipped({"readme.txt": b"moved"}))
        with pytest.raises(StudyError, match=r"holds no list\.txt"):
            fetch("plates")
        assert nothing_but_downloads(data)

    @pytest.mark.parametrize("pack", [zipped, tarred])
    def test_what_does_not_fit_the_disk_is_stopped(self, publish, data, monkeypatch, pack):
        publish(pack({"list.txt": b"", "bomb": bytes(50_000_000)}, ""))
        usage = shutil.disk_usage(data.parent)
        monkeypatch.setattr(
            archives.shutil, "disk_usage", lambda _: usage._replace(free=40_000_000)
        )
        with pytest.raises(StudyError, match=r"needs 0\.1 GB, .* 0\.0 GB free"):
            fetch("plates")
        assert nothing_but_downloads(data)

    def test_a_zip_bomb_by_its_declared_size(self, tmp_path, monkeypatch):
        with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb", bytes(50_000_000))
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(
            archives.shutil, "disk_usage", lambda _: usage._replace(free=40_000_000)
        )
        (tmp_path / "out").mkdir()
        with pytest.raises(StudyError, match="free"):
            archives.unpack(tmp_path / "b.zip", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


class TestWhatTheUserIsTold:
    def test_an_unknown_name(self):
        with pytest.raises(StudyError, match="did you mean grocery"):
            fetch("groceries")
        with pytest.raises(StudyError, match="there are flickr8k, food101, grocery, hyperkvasir"):
            fetch("zzz")

    def test_the_server_says_no(self, publish, site, data):
        publish(zipped(CONTENT))
        site.files.clear()
        with pytest.raises(StudyError, match=r"answers 404 .* put it at \S+plates\.zip"):
            fetch("plates")
        assert len(site.asked) == 1

    def test_nobody_answers(self, publish, site):
        publish(zipped(CONTENT))
        site.close()
        with pytest.raises(StudyError, match="connection to http"):
            fetch("plates")

    def test_another_folder_in_the_way(self, publish, data):
        publish(zipped(CONTENT))
        (data / "plates").mkdir(parents=True)
        (data / "plates/own.txt").write_text("mine")
        with pytest.raises(StudyError, match=r"plates is there but holds no list\.txt"):
            fetch("plates")
        assert tree(data / "plates") == {"own.txt": b"mine"}

    def test_the_data_folder_cannot_be_written(self, publish, data):
        data.write_text("a file in the way")
        publish(zipped(CONTENT))
        with pytest.raises(StudyError, match="Cannot write the dataset plates below"):
            fetch("plates")

    def test_a_dataset_that_one_must_register_for(self, monkeypatch, data):
        source = Source(
            "secret",
            "secret",
            "research use",
            "1 GB",
            register="ask at the desk, unpack to secret/.",
        )
        monkeypatch.setitem(SOURCES, "secret", source)
        with pytest.raises(StudyError, match="cannot be fetched freely: ask at the desk"):
            fetch("secret")
        with pytest.raises(StudyError, match=r"is not at \S+/secret: ask at the desk"):
            require("secret", data / "secret")
        (data / "secret").mkdir(parents=True)
        assert fetch("secret") == require("secret", data / "secret") == data / "secret"

    def test_require_names_place_and_command(self, data):
        with pytest.raises(StudyError) as caught:
            require("grocery", data / "grocery/dataset")
        message = str(caught.value)
        assert str(data / "grocery/dataset") in message
        assert "`python -m studies.inputs.download grocery`" in message
        assert f"STUDIES_DATA (now {data})" in message
        (data / "grocery/dataset").mkdir(parents=True)
        assert require("grocery", data / "grocery/dataset") == data / "grocery/dataset"

    def test_command(self, publish, data, capsys):
        publish(zipped(CONTENT))
        assert main(["plates"]) == 0
        assert capsys.readouterr().out == f"plates: {data / 'plates'}\n"
        assert main(["plates", "plate"]) == 1
        captured = capsys.readouterr()
        assert captured.err == "There is no dataset 'plate' to fetch: did you mean plates?\n"

    def test_command_line_in_a_process_of_its_own(self, tmp_path):
        command = [sys.executable, "-m", "studies.inputs.download", "grocry"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr == "There is no dataset 'grocry' to fetch: did you mean grocery?\n"


PLAIN = {"food101", "uecfood256"}  # published by http, without the s
CAPTIONS = "5cf98361f5e67661fd5b2c6ee219567484440da9"  # the commit that others name


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
                {"Flickr8k.token.txt": b"", "readme.txt": b""}
            ),
            "/dataset256.zip": zipped({"category.txt": b"", "1/7.jpg": b""}, "UECFOOD256/"),
            f"/mlfoundations/imagenet-captions/raw/{CAPTIONS}/imagenet_captions.zip": zipped(
                {"imagenet_captions.json": b"[]"}
            ),
        }
        for name in ("grocery", "hyperkvasir", "flickr8k", "uecfood256", "imagenet_captions"):
            fetch(name)
        found = {name for name in tree(data) if not name.startswith("downloads/")}
        assert found == {
            "grocery/LICENSE",
            "grocery/dataset/train.txt",
            "flickr8k/Flicker8k_Dataset/1000268201_693b08cb0e.jpg",
            "flickr8k/Flickr8k_text/Flickr8k.token.txt",
            "flickr8k/Flickr8k_text/readme.txt",
            "hyperkvasir/2_fold_split.csv",
            "hyperkvasir/labeled-images/image-labels.csv",
            "hyperkvasir/labeled-images/lower-gi-tract/x/y.jpg",
            "imagenet_captions/imagenet_captions.json",
            "uecfood256/UECFOOD256/1/7.jpg",
            "uecfood256/UECFOOD256/category.txt",
        }

    def test_hyperkvasir_is_read_as_it_unpacks(self, site, data):
        polyps = "lower-gi-tract/pathological-findings/polyps"
        folds = b"file-name;class-name;split-index\n1.jpg;polyp;0\n2.jpg;polyp;1\n"
        site.files = {
            "/downloads/hyper-kvasir/hyper-kvasir-labeled-images.zip": zipped(
                {"image-labels.csv": b"", f"{polyps}/1.jpg": b"1", f"{polyps}/2.jpg": b"2"},
                "labeled-images/",
            ),
            "/simula/hyper-kvasir/master/official_splits/2_fold_split.csv": folds,
        }
        found = sources.hyperkvasir(fetch("hyperkvasir"), test_fold=0)
        assert found.files == [f"{polyps}/1.jpg", f"{polyps}/2.jpg"]
        assert found.class_names == [polyps]
        assert found.official.tolist() == ["test", "train"]

    def test_the_captions_of_imagenet_are_read_as_they_unpack(self, site, data):
        record = b'{"filename": "n03146219_27278.JPEG", "wnid": "n03146219", "title": "cuirasses", '
        record += b'"tags": ["cuirasse"], "description": "mus\xc3\xa9e des antiquit\xc3\xa9s"}'
        address = f"/mlfoundations/imagenet-captions/raw/{CAPTIONS}/imagenet_captions.zip"
        site.files = {address: zipped({"imagenet_captions.json": b"[" + record + b"]"})}
        assert fetch("imagenet_captions") == data / "imagenet_captions"
        (caption,) = imagenet_captions(data / FILE)
        assert caption[:3] == (
            "n03146219_27278.JPEG",
            "n03146219",
            "cuirasses musée des antiquités",
        )

    def test_the_pages_of_imagenet_are_those_of_one_commit(self, site, data):
        (part,) = SOURCES["imagenet_wiki"].parts
        site.files = {f"/{part.url.split('/', 3)[3]}": b"n02509815, Red panda\n"}
        with pytest.raises(StudyError, match="another checksum than expected"):
            fetch("imagenet_wiki")
        assert data / part.lands == data / CORRESPONDENCES
        real = REPOSITORY.parent / "shared" / "data" / CORRESPONDENCES
        if real.exists():
            site.files = dict.fromkeys(site.files, real.read_bytes())
            assert len(published(fetch("imagenet_wiki") / CORRESPONDENCES.name)) == 976

    @pytest.mark.parametrize("name", ["ingredients101", "recipes5k"])
    def test_what_must_be_got_by_hand(self, site, data, name):
        """The sentence names the page and the folder, and what was put there is found."""
        with pytest.raises(
            StudyError, match=rf"ub\.edu/cvub/{name}/ .* {name}/annotations/.* below"
        ):
            fetch(name)
        with pytest.raises(StudyError, match=rf"is not at \S+/{name}: get the archive from"):
            require(name, data / name)
        (data / name / "annotations").mkdir(parents=True)
        assert fetch(name) == require(name, data / name) == data / name
        assert site.asked == []

    def test_each_can_be_had_somehow(self):
        for name, source in SOURCES.items():
            assert name == source.name
            assert source.parts or source.register
            assert source.licence
            assert source.size
            for part in source.parts:
                assert part.url.startswith("http://" if name in PLAIN else "https://")
                assert part.lands.split("/")[0] == source.folder
                assert part.sha256 is None or len(part.sha256) == 64
