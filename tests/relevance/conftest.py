"""A kitchen of seconds: its parameters, its predictor trained once, tiny published encoders."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from hearsay import SAID
from studies import paths
from studies.relevance import captions, data
from studies.relevance.params import Parameters
from studies.runs.params import read_yaml, run_files

SHARED = {
    **{"dataset": "small", "max_tokens": 40, "validation_share": 0.2},
    "source": {"name": "kitchen", "per_variant": 4, "seed": 0},
    "rare": {"captions": 3, "train": 0.5, "test": 0.2},
}
FILTER = {"threshold": 0.4, "sure": 0.55}  # a network of two epochs is never sure
ENCODERS = {
    "predictor": {"name": "roberta", "width": 16, "layers": 1, "heads": 2, "vocabulary": 400},
    "downstream": {"name": "bag", "width": 16, "vocabulary": 400},
}
# of published encoders
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
TEXT = {"vocab_size": 320, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}


@pytest.fixture(scope="session")
def shipped(tmp_path_factory) -> Path:
    """A repository with the demo's parameters, made small, as those of the dataset `small`."""
    folder = tmp_path_factory.mktemp("repository")
    for file in (paths.REPOSITORY / "params" / "relevance" / "demo").glob("*.yaml"):
        values = read_yaml(file)
        if file.stem == "dataset":
            values |= SHARED | {"filter": values["filter"] | FILTER}
        for system, encoder in ENCODERS.items():
            if values.get(system):
                values[system]["encoder"] = encoder
        if values.get("training"):
            values["training"] |= {"batch": 16, "epochs": 2}
        written = folder / "params" / "relevance" / "small" / file.name
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture(scope="session")
def done(shipped, tmp_path_factory) -> Path:
    """A root where the small predictor is trained and evaluated."""
    from studies.relevance.evaluate import evaluate

    root = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "REPOSITORY", shipped)
        patch.setenv("STUDIES_ROOT", str(root))
        evaluate(Parameters.from_files(run_files("relevance", "small")["predictor"], ["seed=0"]))
    return root


@pytest.fixture
def small(shipped, monkeypatch):
    """Return a function that gives the parameters of a small system, but for some: dots lead in."""
    monkeypatch.setattr(paths, "REPOSITORY", shipped)

    def make(system: str = "predictor", changes: dict | None = None, seed: int = 0) -> Parameters:
        values = {"seed": seed}
        for file in run_files("relevance", "small")[system]:
            values |= read_yaml(file)
        values = copy.deepcopy(values)
        for name, value in (changes or {}).items():
            *blocks, last = name.split(".")
            place = values
            for block in blocks:
                place = place[block]
            place[last] = copy.deepcopy(value)
        return Parameters.check(values, {"": "test"})

    return make


@pytest.fixture
def elsewhere(done, sandbox, monkeypatch):
    """Return a function that moves to a fresh STUDIES_ROOT, its cache that of all tests."""

    def move(name: str) -> Path:
        root = sandbox / name
        root.mkdir(exist_ok=True)
        (root / "cache").symlink_to(done / "cache")
        monkeypatch.setenv("STUDIES_ROOT", str(root))
        return root

    return move


@pytest.fixture
def kitchen(elsewhere) -> Path:
    """A root without runs."""
    return elsewhere("kitchen")


@pytest.fixture
def predicted(kitchen, done, small) -> Path:
    """The run folder of the evaluated predictor, for one test."""
    folder = small().folder()
    shutil.copytree(done / "runs", kitchen / "runs")
    assert (folder / "metrics.json").exists()
    return folder


@pytest.fixture(scope="session")
def bpe():
    """A byte-level tokenizer of the tokenizers library with RoBERTa's template."""
    from tokenizers import ByteLevelBPETokenizer, processors

    learnt = ByteLevelBPETokenizer()
    words = ["a plate of soup", "the cat sat on my pizza", "Salad is a dish of leaves.", "soups"]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learnt.train_from_iterator(words * 3, vocab_size=320, special_tokens=special)
    learnt._tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return learnt._tokenizer


@pytest.fixture(scope="session")
def save_tokenizer(bpe):
    """Return a function that writes a tokenizer as save_pretrained does."""
    from transformers import PreTrainedTokenizerFast

    tokens = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    tokens |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}

    def save(folder: Path, **changes) -> None:
        given = {name: token for name, token in (tokens | changes).items() if token}
        PreTrainedTokenizerFast(tokenizer_object=bpe, **given).save_pretrained(folder)

    return save


@pytest.fixture(scope="session")
def roberta(tmp_path_factory, save_tokenizer) -> Path:
    """A tiny random RoBERTa in the layout of save_pretrained; it reads up to 30 tokens."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("roberta")
    torch.manual_seed(1)
    sizes = {**SIZES, "num_hidden_layers": 2, "max_position_embeddings": 32, "type_vocab_size": 1}
    config = transformers.RobertaConfig(**sizes, **TEXT, initializer_range=0.5)
    transformers.RobertaForMaskedLM(config).save_pretrained(folder)  # as it was published
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory, save_tokenizer) -> Path:
    """A tiny random CLIP in the layout of save_pretrained; its text encoder reads 12 tokens."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(2)
    both = {**SIZES, "num_hidden_layers": 1, "projection_dim": 8}
    text = both | TEXT | {"max_position_embeddings": 12}
    vision = both | {"image_size": 8, "patch_size": 4}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    save_tokenizer(folder, model_max_length=12)
    return folder


@pytest.fixture
def tokens(sandbox, monkeypatch):
    """A token file of a few classes with several images each, and of none."""
    file = sandbox / "data" / "flickr8k" / "Flickr8k_text" / "Flickr8k.token.txt"
    file.parent.mkdir(parents=True)
    said = [*SAID.values(), "A man waits for a friend", "Two women talk"] * 14
    lines = [
        f"{image}.jpg#{number}\t{text} number {image} take {number} .\n"
        for image, text in enumerate(said)
        for number in range(5)
    ]
    other = [f"unlisted.jpg#{number}\tA boat\n" for number in range(5)]
    file.write_text("".join([*lines, "odd.jpg#0\tA caption without the other four\n", *other]))
    for part, start in {"train": 0, "dev": 1, "test": 2}.items():
        listed = [f"{image}.jpg\n" for image in range(start, len(said), 3)]
        file.with_name(f"Flickr_8k.{part}Images.txt").write_text("".join([*listed, "odd.jpg\n"]))
    table = [one for one in captions.concepts() if one.name in SAID]
    monkeypatch.setattr(data, "concepts", lambda: table)
    return file
