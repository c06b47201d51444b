"""The paper's protocol as shipped, from published files to scores, without a network.

RoBERTa and CLIP are tiny random ones under the published names, as they would have to be fetched;
of the parameters only sizes are smaller.
"""

import csv
import json
import re
import shutil
import socket
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file

from studies import paths
from studies.relevance.evaluate import evaluate
from studies.relevance.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import read_yaml, run_files

DATASET = "imagenet_captions"
DOWNSTREAM = ["downstream_all", "downstream_kept", "downstream_weighted", "downstream_random"]
FILTERS = ["predictor", "predictor@captions_alone", "name_match", "tfidf", "clip"]
SIZES = {"epochs": 1, "batch": 16, "threads": 1, "precision": "32-true"}

MORE = " Here it is again. Many have seen it.\nIt is well known. There is more to say. That is all."
TEXTS = {
    "n01440764": ("tench", f"The tench is a fish. It lives in still waters.{MORE}"),
    "n02509815": ("lesser panda", f'The "red" panda is a mammal. It is not a bear.{MORE}'),
    "n03126707": ("crane", f"A crane is a machine, which lifts loads. It is high.{MORE}"),
    "n07753592": ("banana", f"A banana is a long fruit.\n香蕉是水果。{MORE}"),
    "n02012849": ("crane bird", "Cranes are tall birds. They dance. They fly far."),  # a rare one
}
SAID = {
    "n01440764": ["My first tench", "Линь из пруда", "caught at the <b>lake</b> &amp; released"],
    "n02509815": ["a red panda asleep", "ein Kleiner Panda im Zoo", "レッサー パンダ です"],
    "n03126707": ["Harbour crane at night", "grue du port", "رافعة في الميناء"],
    "n07753592": ["bananas for sale", "plátanos maduros", "our <a href='x'>holiday</a>, day 3"],
    "n02012849": ["a crane in flight", "grulla común", "I <3 birds\nand \ud83e\udd9c too"],
}
PLENTY = 16  # captions of each class


def records() -> list[dict]:
    """Captions as they are published, and what is the matter with real ones."""
    found = []
    for wnid, said in SAID.items():
        for number in range(PLENTY):
            text = said[number % len(said)]
            one = {"title": text, "description": f"no. {number}", "tags": ["tag", wnid]}
            if number % 4 == 1:
                one |= {"title": "", "description": f"<p>{text}</p><br>{number}"}
            found.append({"filename": f"{wnid}_{number}.JPEG", "wnid": wnid} | one)
    strange = [
        {"title": "not of this world", "description": "at all"},  # its wnid has no class
        {"title": "", "description": ""},
        {"title": None, "description": "<script>x = 1</script>"},
        {"title": "IMG_2041", "description": ""},
        {"title": "another one of", "description": "the same photo"},
        {"title": "long", "description": "a very long story " * 6000},  # 100 kB
    ]
    wnids = ["n99999999", *["n01440764"] * 5]
    names = ["x.JPEG", "e.JPEG", "s.JPEG", "w.JPEG", "n01440764_0.JPEG", "l.JPEG"]
    for one, wnid, name in zip(strange, wnids, names, strict=True):
        found.append({"filename": name, "wnid": wnid, "tags": []} | one)
    return found


KEPT = PLENTY * len(TEXTS) + 1  # and the long one
DROPPED = {
    "its wnid is none of the classes": 1,
    "it has no text": 2,
    "its text is a single word": 1,
    "another caption of this image is kept": 1,
}


def write_data(data: Path) -> None:
    folder = data / DATASET
    folder.mkdir(parents=True)
    (folder / "imagenet_captions.json").write_text(json.dumps(records()))
    with (folder / "class_texts.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = [(wnid, name, text) for wnid, (name, text) in TEXTS.items()]
        csv.writer(stream, lineterminator="\n").writerows([("wnid", "class", "text"), *rows])


def write_models(folder: Path) -> dict[str, torch.Tensor]:
    """Save a RoBERTa and a CLIP of random weights by their names; return RoBERTa's weights."""
    torch.manual_seed(0)
    roberta, clip = folder / "FacebookAI/roberta-base", folder / "openai/clip-vit-base-patch32"
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = tokenizers.ByteLevelBPETokenizer()
    words.train_from_iterator([], vocab_size=300, special_tokens=special)
    roberta.mkdir(parents=True)
    words.save_model(str(roberta))
    transformers.RobertaTokenizerFast.from_pretrained(roberta).save_pretrained(roberta)
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.RobertaConfig(
        **tiny, vocab_size=261, intermediate_size=16, max_position_embeddings=514
    )
    model = transformers.RobertaForMaskedLM(config)
    model.save_pretrained(roberta)
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, model_max_length=77, **ends
    ).save_pretrained(clip)
    small = tiny | {"intermediate_size": 16, "projection_dim": 8}
    text = small | {"vocab_size": 261, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    sizes = transformers.CLIPConfig(
        text_config=text, vision_config=small | {"image_size": 8, "patch_size": 4}, projection_dim=8
    )
    transformers.CLIPModel(sizes).save_pretrained(clip)
    return {name: value.clone() for name, value in model.roberta.state_dict().items()}


def smaller(shipped: Path, folder: Path) -> None:
    """Copy the shipped parameters, smaller in size."""
    shutil.copytree(shipped, folder)
    for file in folder.glob("*.yaml"):
        text = file.read_text()
        for name, size in SIZES.items():
            text = re.sub(rf"^( *{name}): [\w.-]+", rf"\1: {size}", text, flags=re.M)
        file.write_text(text)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Every system, evaluated: downstream classifiers and CLIP first, with what they build on."""
    folder = tmp_path_factory.mktemp("full_size")
    place = Path("params", "relevance", DATASET)
    smaller(paths.REPOSITORY / place, folder / place)
    write_data(folder / "data")
    published = write_models(folder)
    reached, runs = [], {}

    def refuse(*given, **_):
        reached.append(given)
        raise OSError("no network here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "REPOSITORY", folder)
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        patch.chdir(folder)  # where the names of the weights are folders
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        files = run_files("relevance", DATASET)
        for system in [*DOWNSTREAM, *FILTERS]:
            parameters = Parameters.from_files(files[system], ["seed=0"])
            runs[system] = load_run(evaluate(parameters))
    return SimpleNamespace(
        folder=folder,
        runs=runs,
        systems=set(files),
        reached=reached,
        published=published,
    )


def test_every_shipped_system_was_run(world):
    assert set(world.runs) == world.systems
    assert world.reached == []


def test_only_sizes_were_smaller(world):
    for file in (paths.REPOSITORY / "params" / "relevance" / DATASET).glob("*.yaml"):
        said, ran = read_yaml(file), read_yaml(world.folder / file.relative_to(paths.REPOSITORY))
        training = ran.get("training") or {}
        for values, sized in ((ran, said), (training, said.get("training") or {})):
            values.update({name: sized[name] for name in SIZES if name in sized})
        assert ran == said


@pytest.mark.parametrize("system", FILTERS)
def test_filters_say_of_every_caption_whether_it_is_kept(world, system):
    run = world.runs[system]
    frame = run.predictions
    assert len(frame) == KEPT
    assert frame["id"].is_unique
    assert set(frame["class"]) == set(TEXTS)
    assert frame["relevant"].isna().all()
    assert frame["kept"].dtype == bool
    assert run.metrics["kept"] == frame["kept"].sum()
    counts = frame["part"].value_counts()
    assert counts["test"] == round(0.23 * KEPT)
    assert counts.to_dict() == run.provenance["captions"]
    assert counts["validation"] == round(0.1 * (KEPT - counts["test"]))


def test_the_predictor_scores_captions_by_the_paper(world):
    frame = world.runs["predictor"].predictions
    assert frame["probability"].between(0, 1).all()
    kept = frame[frame["kept"]]
    assert 0 < len(kept) < len(frame)
    v = np.where(kept["probability"] > 0.9, 1, kept["probability"] + 0.1)
    assert (kept["probability"] >= 0.5).all()
    expected = np.maximum((v - 0.6) / 0.4, 0.001)
    np.testing.assert_allclose(kept["coefficient"].astype(float), expected, rtol=1e-6)
    assert frame.loc[~frame["kept"], "coefficient"].isna().all()


@pytest.mark.parametrize("system", ["predictor", "predictor@captions_alone", *DOWNSTREAM])
def test_roberta_was_fine_tuned_at_a_low_rate(world, system):
    run = world.runs[system]
    tensors = load_file(run.folder / "model.safetensors")
    own = {name.removeprefix("encoder.model."): value for name, value in tensors.items()}
    rate = run.params["training"]["backbone_learning_rate"]
    assert 0 < rate <= run.params["training"]["learning_rate"] / 10
    assert len(run.curves) == 1
    moved = 0.0
    for name, value in world.published.items():
        if name in own:
            moved = max(moved, (own[name] - value).abs().max().item())
    assert 0 < moved < 100 * rate
    assert {name for name in tensors if not name.startswith("encoder.")} == {
        *("dense.weight", "dense.bias")
    }
    assert tensors["dense.weight"].shape == (len(TEXTS), 16)
    assert run.model().logits(["a red panda asleep"]).shape == (1, len(TEXTS))


@pytest.mark.parametrize("system", DOWNSTREAM)
def test_classifiers_were_trained_on_what_is_kept(world, system):
    run, predictor = world.runs[system], world.runs["predictor"].predictions
    known = predictor[predictor["part"] == "train"]
    taken = len(known) if system == "downstream_all" else known["kept"].sum()
    assert run.provenance["trained_on"] == taken
    assert set(run.predictions["said"]) <= set(TEXTS)
    assert set(run.predictions["id"]) == set(predictor.loc[predictor["part"] == "test", "id"])
    right = (run.predictions["said"] == run.predictions["class"]).mean()
    assert run.metrics["accuracy"] == pytest.approx(right)


def test_what_was_dropped_before_training(world, monkeypatch):
    from studies.relevance import data

    monkeypatch.setattr(paths, "REPOSITORY", world.folder)
    monkeypatch.setenv("STUDIES_ROOT", str(world.folder / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(world.folder / "data"))
    parameters = Parameters.from_files(run_files("relevance", DATASET)["tfidf"], ["seed=0"])
    collection = data.read(parameters)
    assert Counter(collection.reason) == DROPPED | {"": KEPT}
    texts = dict(zip(collection.captions["image"], collection.captions["text"], strict=True))
    assert texts["n01440764_2.JPEG"] == "caught at the lake & released no. 2"
    assert texts["n02012849_5.JPEG"] == "I <3 birds and \U0001f99c too 5"
    assert texts["n07753592_5.JPEG"] == "our holiday, day 3 5"
    assert 1900 < len(texts["l.JPEG"]) <= parameters.characters
