"""Everyone's captions: Flickr30k, COCO and nocaps in their layouts, right, odd and wrong."""

import json

import numpy as np
import pytest
from PIL import Image

import changing
from sentences import refused
from studies.captioning import data, evaluate
from studies.captioning.params import Parameters
from studies.captioning.readers import READERS, karpathy
from studies.captioning.report import domains, read
from studies.runs import params
from studies.runs.folder import load_run

SAID = {
    "1.jpg": ["A dog runs .", 'A "brown" dog, wet .'],
    "2.JPG": ["Two cats, sleeping .", "Cats ."],
    "3.jpg": ["A red bicycle .", "A red bicycle ."],
}
COLOURS = {"red": (220, 40, 40), "blue": (50, 60, 220)}


def draw(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.new("RGB", (20, 20), [*COLOURS.values()][k % 2]).save(folder / name, "JPEG")


def captions_of(dataset):
    assert all(path.is_file() for path in dataset.paths)
    return dict(zip(dataset.files, dataset.captions, strict=True))


def hostile(text):
    """The same text as some editor or system leaves it."""
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n"


class TestFlickr30k:
    @pytest.fixture
    def folder(self, sandbox):
        folder = sandbox / "data" / "flickr30k"
        draw(folder / "flickr30k_images" / "flickr30k_images", [*SAID, "uncaptioned.jpg"])
        lines = [f"{name}| {k}| {text}" for name, own in SAID.items() for k, text in enumerate(own)]
        self.file = folder / "flickr30k_images" / "results.csv"
        self.file.write_text("\n".join(["image_name| comment_number| comment", *lines]))
        return folder

    def test_as_at_kaggle(self, folder):
        chosen = params.load_parameters("captioning", "flickr30k", "resnet_lstm")
        dataset = data.read(chosen)
        assert captions_of(dataset) == SAID
        assert dataset.official is None
        assert round(31_783 * chosen.test_share) == round(31_783 * chosen.validation_share) == 1_000
        text = self.file.read_text()
        self.file.write_bytes(hostile(text))
        # the latter as the published file has it of one image
        for one, other in (("2.JPG", "2.jpg"), ("1.jpg| 1| A", "1.jpg| 1   A")):
            assert one in text
            text = text.replace(one, other)
        self.file.write_bytes(hostile(text))
        assert captions_of(READERS["flickr30k"](folder)) == SAID

    def test_the_other_layout_and_karpathys_splits(self, folder):
        self.file.unlink()
        rows = [
            f'{name},"{text.replace(chr(34), chr(34) * 2)}"'
            for name, own in SAID.items()
            for text in own
        ]
        (folder / "captions.txt").write_bytes(hostile("\n".join(["image,caption", *rows])))
        assert captions_of(READERS["flickr30k"](folder)) == SAID
        parts = dict(zip(SAID, ("train", "val", "test"), strict=True))
        entries = [
            {"filename": name, "split": parts[name], "sentences": [{"raw": one} for one in own]}
            for name, own in SAID.items()
        ]
        (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": entries}))
        dataset = karpathy(folder)
        assert captions_of(dataset) == SAID
        assert dataset.official.tolist() == ["train", "validation", "test"]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("1.jpg| 0| A dog runs .", " line 8: `1.jpg#0` is there twice"),
            ("4.jpg| 0| A fish .", " line 8: `4.jpg` is not in flickr30k_images"),
            ("2.jpg| 9| Cats .", "`2.jpg` is not in flickr30k_images"),  # beside 2.JPG
            ("1.jpg, A fish .", " line 8: expected an image, a number and a caption"),
        ],
    )
    def test_wrong_lines(self, folder, line, told):
        self.file.write_text(f"{self.file.read_text()}\n{line}")
        assert told in refused(READERS["flickr30k"], folder)

    def test_what_was_looked_for(self, folder):
        self.file.unlink()
        message = refused(READERS["flickr30k"], folder)
        assert message.startswith(f"{folder / 'results.csv'}: no such file, nor captions.txt")


def coco_file(captions, **of_image):
    """The images and annotations of a file of COCO's form; images are numbered from 7 on."""
    names = list(captions)
    images = [
        {"id": k, "file_name": name} | {key: value[name] for key, value in of_image.items()}
        for k, name in enumerate(names, 7)
    ]
    said = [(k, text) for k, name in enumerate(names, 7) for text in captions[name]]
    annotations = [
        {"id": number, "image_id": k, "caption": f"{text}\n"}
        for number, (k, text) in enumerate(said)
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations}


def numbers(some):
    return [f"{k:012d}.jpg" for k in some]


def two_colours(names):
    """Captions of the pictures that `draw` draws."""
    words = list(COLOURS)
    return {
        name: [f"A {words[k % 2]} wall .", f"It is {words[k % 2]} ."]
        for k, name in enumerate(names)
    }


@pytest.fixture
def coco(sandbox):
    folder = sandbox / "data" / "coco"
    (folder / "annotations").mkdir(parents=True)
    for part, names in (("train2017", numbers(range(16))), ("val2017", numbers(range(20, 24)))):
        draw(folder / part, names)
        file = folder / "annotations" / f"captions_{part}.json"
        file.write_text(json.dumps(coco_file(two_colours(names))), encoding="utf-8-sig")
    return folder


@pytest.fixture
def nocaps(sandbox):
    folder, names = sandbox / "data" / "nocaps", [f"{k}ab.jpg" for k in range(6)]
    draw(folder / "images", names)
    kinds = dict(zip(names, ["in-domain", "near-domain", "out-domain"] * 2, strict=True))
    content = coco_file(two_colours(names), domain=kinds)
    (folder / "nocaps_val_4500_captions.json").write_text(json.dumps(content))
    return folder


class TestCoco:
    def test_its_own_splits(self, coco):
        dataset = READERS["coco"](coco)
        train = [f"train2017/{name}" for name in numbers(range(16))]
        test = [f"val2017/{name}" for name in numbers(range(20, 24))]
        assert dataset.files == train + test
        assert dataset.official.tolist() == ["train"] * 16 + ["test"] * 4
        assert captions_of(dataset) == two_colours(train) | two_colours(test)
        assert len(dataset.tables) == 2

    @pytest.mark.parametrize("year", [2014, 2017])
    def test_karpathys_splits_with_the_folders_of_either_year(self, coco, year):
        names = {"train": 3, "restval": 20, "val": 21, "test": 22}
        entries = []
        for split, k in names.items():
            home = "train2014" if split == "train" else "val2014"
            name = f"COCO_{home}_{k:012d}.jpg"
            entries.append({"filepath": home, "filename": name, "split": split, "cocoid": k})
            entries[-1]["sentences"] = [{"raw": f"Image {k} .", "tokens": []}]
            if year == 2014:
                draw(coco / home, [name])
        (coco / "dataset_coco.json").write_text(json.dumps({"images": entries}))
        dataset = karpathy(coco)
        assert dataset.official.tolist() == ["train", "train", "validation", "test"]
        assert dataset.captions == [[f"Image {k} ."] for k in names.values()]
        later = [f"{'train' if k == 3 else 'val'}2017/{k:012d}.jpg" for k in names.values()]
        earlier = [f"{one['filepath']}/{one['filename']}" for one in entries]
        assert dataset.files == (earlier if year == 2014 else later)
        assert all(path.is_file() for path in dataset.paths)

    @pytest.mark.parametrize(
        ("where", "change", "told"),
        [
            ("annotations", {"image_id": 99}, "caption 0 is of image 99, which is not listed"),
            ("annotations", {"id": 1}, "caption 1 is there twice"),
            ("annotations", {"caption": 5}, "expected `images` with id and file_name"),
            ("images", {"file_name": "../coco/x.jpg"}, "`train2017/../coco/x.jpg` is not in coco"),
            ("images", {"id": 77}, "caption 0 is of image 7, which is not listed"),
        ],
    )
    def test_wrong_entries(self, coco, where, change, told):
        file = coco / "annotations" / "captions_train2017.json"
        content = json.loads(file.read_text("utf-8-sig"))
        content[where][0] |= change
        file.write_text(json.dumps(content))
        message = refused(READERS["coco"], coco)
        assert message.startswith(f"{file}: ")
        assert told in message

    def test_an_image_without_caption_and_what_was_looked_for(self, coco):
        file = coco / "annotations" / "captions_val2017.json"
        content = json.loads(file.read_text("utf-8-sig"))
        content["annotations"] = content["annotations"][2:]
        file.write_text(json.dumps(content))
        told = f"{file}: `val2017/{20:012d}.jpg` has no caption"
        assert refused(READERS["coco"], coco).startswith(told)
        file.unlink()
        assert "captions_val2017.json: no such file" in refused(READERS["coco"], coco)


def small(dataset, system, **changes):
    """The parameters of a listed run, reduced to what is trained in seconds."""
    values = changing.values_of("captioning", dataset, system)
    tiny = changing.values_of("captioning", "tiny", "resnet_transformer")
    kept = {"dataset", "source", "model", "variant", "baseline", "network", "seed"}
    values = {**tiny, **{name: values[name] for name in kept & values.keys()}}
    if values["network"]:
        values["network"] = tiny["network"]
    shared = {"epochs": 10, "validate_every": 5, "images": 4, "learning_rate": 0.005}
    return Parameters.check(values | shared | changes, {"": "test"})


def test_a_model_trained_on_coco_captions_nocaps(coco, nocaps, unscored, monkeypatch):
    """End to end; its domains are reported apart."""
    trained = small("coco", "resnet_transformer")
    monkeypatch.setattr("studies.captioning.params.load_parameters", lambda *_: trained)
    run = load_run(evaluate.evaluate(small("nocaps", "resnet_transformer")))
    source = load_run(trained.folder())  # trained and scored on the way
    assert source.provenance["images"] == {"train": 14, "validation": 2, "test": 4}
    assert not (run.folder / "model.safetensors").exists()
    assert run.trained
    assert run.provenance["images"] == {"train": 0, "validation": 0, "test": 6}
    colours = ["red", "blue"] * 3
    for text, colour in zip(run.predictions["candidate"], colours, strict=True):
        assert colour in text.split()
    assert run.predictions["domain"].tolist() == ["in-domain", "near-domain", "out-domain"] * 2
    monkeypatch.setattr(params, "run_files", lambda *_: {})
    results = read("nocaps")
    frame = results.tidy().set_index("metric")
    assert frame.loc["cider_out_domain", "mean"] == 1.0
    scores = run.predictions.assign(**{"ROUGE-L": [0.5, 1, 1, 0.1, 0, 0]})
    vars(run)["predictions"] = scores
    metric = results.metrics(run)["rouge_l_in_domain"]
    assert metric(np.ones((1, 6)))[0] == pytest.approx(0.3)
    assert metric(np.array([[0, 5, 5, 2, 0, 0]]))[0] == pytest.approx(0.1)
    assert "ROUGE-L, near-domain" in domains(results.tidy()).html


def test_nothing_learns_from_nocaps(nocaps):
    chosen = small("nocaps", "resnet_lstm", baseline={"name": "most_frequent"})
    message = refused(data.split, data.read(chosen), chosen)
    assert message.startswith(f"{nocaps / 'images'}: too few images for a train set")


def test_some_training_images_are_left_out(coco):
    chosen = small("coco", "resnet_lstm", train_images=5)
    whole = small("coco", "resnet_lstm")
    dataset = data.read(chosen)
    parts, all_parts = data.split(dataset, chosen), data.split(dataset, whole)
    assert (parts == "train").sum() == 5
    assert (parts[parts != "unused"] == all_parts[parts != "unused"]).all()
    assert set(all_parts[parts == "unused"]) == {"train"}
    other = small("coco", "resnet_lstm", train_images=5, seed=3)
    assert (data.split(dataset, other) == parts).all()
