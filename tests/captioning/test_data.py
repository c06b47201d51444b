"""What a run reads: its images, their captions and parts, and the batches of an epoch."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

import kitchen as world
from sentences import kept, refused
from studies import demo
from studies.captioning import baselines, data
from studies.captioning.params import NearestNeighbour
from studies.captioning.tokens import Words
from studies.inputs.splits import PARTS
from studies.learning.fit import Batches

CAPTIONS = [["a b", "b"], ["c"], ["b c a", "a", "c c", "b a"], ["a a"], ["c b", "b"]]


def made_up(count, official=None, captions=None):
    files = [f"{k}.jpg" for k in range(count)]
    captions = captions or [[f"caption {k}"] for k in range(count)]
    return data.CaptionedImages(Path("/nowhere"), files, captions, official and np.array(official))


class TestRead:
    def test_the_kitchen(self, sandbox, plates):
        found = data.read(plates(source={"name": "kitchen", "per_variant": 2, "seed": 3}))
        with (demo.kitchen(2, 3) / "plates.csv").open(encoding="utf-8") as file:
            drawn = {row["id"]: row["path"] for row in csv.DictReader(file)}
        assert found.official is None
        assert [f"images/{file}" for file in found.files] == list(drawn.values())
        assert all(path.is_file() for path in found.paths)
        plate = {plate.id: plate for plate in world.plates(2, 3)}
        for path, captions in zip(found.paths, found.captions, strict=True):
            assert captions == world.captions(plate[path.stem], 3)

    def test_published_splits(self, sandbox, squares, flickr8k_folder):
        flickr8k_folder(sandbox / "data" / "flickr8k")
        found = data.read(squares())
        assert Counter(found.official) == {"train": 12, "validation": 4, "test": 4}
        for captions in found.captions:
            assert len(captions) == 5
            assert len({caption for caption in captions if "square" in caption}) == 3

    def test_karpathys_splits_are_in_another_file(self, sandbox, squares, flickr8k_folder):
        folder = flickr8k_folder(sandbox / "data" / "flickr8k")
        settings = squares(source={"name": "flickr8k", "splits": "karpathy"})
        assert "dataset_flickr8k.json: no such file" in refused(data.read, settings)
        entries = ",".join(
            f'{{"filename": "0{k}.jpg", "split": "{part}", "sentences": [{{"raw": "A wall ."}}]}}'
            for k, part in enumerate(["test", "val", "train"])
        )
        (folder / "dataset_flickr8k.json").write_text(f'{{"images": [{entries}]}}')
        assert data.read(settings).official.tolist() == ["test", "validation", "train"]

    def test_missing_data(self, sandbox, squares):
        message = refused(data.read, squares())
        assert message.startswith(
            f"The dataset flickr8k is not at {sandbox / 'data' / 'flickr8k'}: "
        )
        assert kept(sandbox) == []


class TestSplit:
    @settings(max_examples=60, deadline=None)
    @given(
        count=st.integers(10, 300),
        validation=st.floats(0.05, 0.45),
        test=st.floats(0.05, 0.45),
        seed=st.integers(0, 1000),
    )
    def test_shares_by_lot(self, plates, count, validation, test, seed):
        wanted = {"validation": round(count * validation), "test": round(count * test)}
        wanted["train"] = count - sum(wanted.values())
        assume(all(wanted.values()))
        changes = {"validation_share": validation, "test_share": test, "split_seed": seed}
        parts = data.split(made_up(count), plates(**changes))
        assert parts.shape == (count,)
        assert Counter(parts) == wanted
        other_system = plates("most_frequent", seed=7, **changes)
        assert (parts == data.split(made_up(count), other_system)).all()

    def test_other_split_seed_other_split(self, plates):
        splits = {tuple(data.split(made_up(50), plates(split_seed=seed))) for seed in range(4)}
        assert len(splits) == 4

    def test_every_image_may_be_tested_on(self, plates):
        tested = [data.split(made_up(10), plates(split_seed=seed)) == "test" for seed in range(40)]
        assert np.any(tested, axis=0).all()
        assert not np.all(tested, axis=0).any()

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=30), st.integers(0, 9))
    def test_published_parts_are_kept(self, squares, official, seed):
        settings = squares(split_seed=seed, validation_share=0.3, test_share=0.3)
        assert data.split(made_up(len(official), official), settings).tolist() == official

    @pytest.mark.parametrize(
        ("count", "shares", "part"),
        [
            (1, (0.2, 0.6), "train"),
            (3, (0.5, 0.4), "train"),
            (4, (0.1, 0.3), "validation"),
            (4, (0.3, 0.1), "test"),
            (100, (0.0, 0.1), "validation"),
            (100, (0.1, 0.0), "test"),
        ],
    )
    def test_too_few_images(self, plates, count, shares, part):
        settings = plates(validation_share=shares[0], test_share=shares[1])
        message = refused(data.split, made_up(count), settings)
        assert message.startswith("/nowhere: too few images for a ")
        assert "change validation_share and test_share" in message
        assert f"for a {part} set" in message

    def test_all_captions_of_the_training_images(self):
        dataset = made_up(5, captions=CAPTIONS)
        parts = np.array(["train", "test", "train", "validation", "train"])
        expected = ["a b", "b", "b c a", "a", "c c", "b a", "c b", "b"]
        assert data.training_captions(dataset, parts) == expected


@pytest.fixture(scope="module")
def examples():
    words = Words.learn([said for own in CAPTIONS for said in own], 1)
    inputs = np.arange(5 * 3 * 2 * 2, dtype=np.uint8).reshape(5, 3, 2, 2)
    return data.Examples(inputs, CAPTIONS, words, 9)


class TestExamples:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    def test_each_caption_belongs_to_its_image(self, examples, rows):
        inputs, captions, owners = examples[rows]
        assert inputs.dtype == torch.uint8
        assert inputs.tolist() == [examples.inputs[row].tolist() for row in rows]
        said = [
            (place, examples.words.decode(caption))
            for place, caption in zip(owners.tolist(), captions, strict=True)
        ]
        assert said == [(place, one) for place, row in enumerate(rows) for one in CAPTIONS[row]]

    def test_a_batch_does_not_change_what_is_kept(self, tmp_path, examples):
        np.save(tmp_path / "inputs.npy", examples.inputs)
        mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
        kept = data.Examples(mapped, CAPTIONS, examples.words, 9)
        kept[[0, 1]][0].zero_()
        assert (mapped == examples.inputs).all()

    def test_batches_of_an_epoch(self, examples):
        batches = Batches(np.array([4, 0, 2]), 2, seed=1)
        loader = DataLoader(examples, sampler=batches, batch_size=None)
        for rows, (inputs, captions, owners) in zip(batches, loader, strict=True):
            expected = examples[rows]
            for got, wanted in zip((inputs, captions, owners), expected, strict=True):
                assert got.equal(wanted)
        assert len(loader) == 2
        assert len(examples) == 5


class TestInputs:
    @pytest.fixture
    def kitchen(self, sandbox, plates):
        return data.read(plates())

    def test_pixels(self, kitchen, plates):
        found = data.inputs(kitchen, plates(image_size=96))  # as drawn
        assert (found.shape, found.dtype) == ((24, 3, 96, 96), np.uint8)
        for pixels, path in zip(found, kitchen.paths, strict=True):
            with Image.open(path) as picture:
                assert (pixels.transpose(1, 2, 0) == np.asarray(picture)).all()
        assert data.inputs(kitchen, plates(image_size=32)).shape == (24, 3, 32, 32)

    @pytest.fixture
    def vit(self, tmp_path):
        """A tiny random vision transformer, in the layout of save_pretrained."""
        import transformers

        torch.manual_seed(0)
        size = {"hidden_size": 16, "intermediate_size": 32, "image_size": 32, "patch_size": 8}
        config = transformers.ViTConfig(num_hidden_layers=2, num_attention_heads=2, **size)
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
        processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
        processor.save_pretrained(tmp_path / "vit")
        return tmp_path / "vit"

    def test_tokens_of_a_frozen_backbone(self, kitchen, plates, vit, monkeypatch):
        from transformers import ViTImageProcessor, ViTModel

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        source = {"name": "backbone", "weights": str(vit), "trained": False}
        found = data.inputs(kitchen, plates("clip_transformer", trunk=source))
        assert (found.shape, found.dtype) == ((24, 17, 16), np.float16)
        model, processor = ViTModel.from_pretrained(vit), ViTImageProcessor.from_pretrained(vit)
        pictures = [Image.open(path) for path in kitchen.paths]
        with torch.no_grad():
            expected = model(**processor(pictures, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(found, expected, atol=5e-3)

        features = {"name": "backbone", "weights": str(vit)}
        given = NearestNeighbour.model_validate({"name": "nearest_neighbour", "features": features})
        space = baselines.feature_space(kitchen, given, np.arange(24))
        assert (space.shape, space.dtype) == ((24, 16), np.float32)
