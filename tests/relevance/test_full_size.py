"""The paper's protocol as shipped, from published files to scores, without a network.

RoBERTa and CLIP are tiny random ones under the published names, as they would have to be fetched;
of the parameters only sizes are smaller.
"""

import re
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file

import hearsay
from studies import paths
from studies.relevance.evaluate import evaluate
from studies.runs.folder import load_run
from studies.runs.params import load_parameters, run_files

DATASET = "imagenet_captions"
DOWNSTREAM = ["downstream_all", "downstream_kept", "downstream_weighted", "downstream_random"]
FILTERS = ["predictor", "predictor@captions_alone", "name_match", "tfidf", "clip"]
SIZES = {"epochs": 1, "batch": 16, "threads": 1, "precision": "32-true"}


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
    tiny["intermediate_size"] = 16
    config = transformers.RobertaConfig(**tiny, vocab_size=261, max_position_embeddings=514)
    model = transformers.RobertaForMaskedLM(config)
    model.save_pretrained(roberta)
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, model_max_length=77, **ends
    ).save_pretrained(clip)
    small = tiny | {"projection_dim": 8}
    text = small | {"vocab_size": 261, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    vision = small | {"image_size": 8, "patch_size": 4}
    sizes = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    transformers.CLIPModel(sizes).save_pretrained(clip)
    return {name: value.clone() for name, value in model.roberta.state_dict().items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Every system, evaluated: downstream classifiers and CLIP first, with what they build on."""
    folder = tmp_path_factory.mktemp("full_size")
    place = Path("params", "relevance", DATASET)
    shutil.copytree(paths.REPOSITORY / place, folder / place)
    for file in (folder / place).glob("*.yaml"):
        text = file.read_text()
        for name, size in SIZES.items():
            text = re.sub(rf"^( *{name}): [\w.-]+", rf"\1: {size}", text, flags=re.M)
        file.write_text(text)
    hearsay.publish(folder / "data")
    published, reached = write_models(folder), []

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
        assert {*run_files("relevance", DATASET)} == {*DOWNSTREAM, *FILTERS}
        runs = {
            system: load_run(evaluate(load_parameters("relevance", DATASET, system)))
            for system in [*DOWNSTREAM, *FILTERS]
        }
    return SimpleNamespace(folder=folder, runs=runs, reached=reached, published=published)


def test_no_network_was_asked(world):
    assert world.reached == []


@pytest.mark.parametrize("system", FILTERS)
def test_filters_say_of_every_caption_whether_it_is_kept(world, system):
    run = world.runs[system]
    frame = run.predictions
    assert sorted(frame["id"]) == sorted(hearsay.IDS)
    assert frame["relevant"].isna().all()
    assert run.metrics == {"kept": frame["kept"].sum()}
    counts = frame["part"].value_counts()
    assert counts.to_dict() == run.provenance["captions"]
    assert counts["test"] == round(0.23 * len(frame))
    assert counts["validation"] == round(0.1 * (len(frame) - counts["test"]))
    if system == "name_match":
        assert frame["kept"].all()


@pytest.mark.parametrize("system", ["predictor", "predictor@captions_alone", *DOWNSTREAM])
def test_roberta_was_fine_tuned_at_a_low_rate(world, system):
    run = world.runs[system]
    tensors = load_file(run.folder / "model.safetensors")
    own = {name.removeprefix("encoder.model."): value for name, value in tensors.items()}
    rate = run.params["training"]["backbone_learning_rate"]
    assert 0 < rate <= run.params["training"]["learning_rate"] / 10
    moved = [
        (own[name] - value).abs().max().item()
        for name, value in world.published.items()
        if name in own
    ]
    assert 0 < max(moved) < 100 * rate
    assert run.model().logits(["a red panda asleep"]).shape == (1, len(hearsay.NAMES))


@pytest.mark.parametrize("system", DOWNSTREAM)
def test_classifiers_were_trained_on_what_is_kept(world, system):
    run, predictor = world.runs[system], world.runs["predictor"].predictions
    known = predictor[predictor["part"] == "train"]
    taken = len(known) if system == "downstream_all" else known["kept"].sum()
    assert run.provenance["trained_on"] == taken
    assert set(run.predictions["id"]) == set(predictor.loc[predictor["part"] == "test", "id"])
    right = (run.predictions["said"] == run.predictions["class"]).mean()
    assert run.metrics["accuracy"] == pytest.approx(right)
