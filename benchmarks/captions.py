"""How the relevance study grows with the number of captions, and what grouping by length saves.

Scale: ImageNet-Captions' layout with generated captions of 999 classes goes all the way that real
ones go (reading, tables on disk, tokens, split, examples, the batches of an epoch, probabilities of
every class, filter), each number of captions in a process of its own; the network is a bag of
tokens, so that what is measured is everything around it. Time a caption against that of 10,000.

Throughput: the same texts scored by a narrow RoBERTa in batches of about one length, and, as a
tutorial does it, in the order of the file filled up to the limit. One thread, processor time,
medians of interleaved rounds.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lines import heading, line

CLASSES, SIZES = 999, (10_000, 100_000, 400_000)
WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "ne", "su") for b in "aeiou" for c in "bdfgklmnr"]
TEXTS, BATCH, LONGEST, ROUNDS = 512, 32, 256, 5
DATASET = {
    **{"dataset": "benchmark", "model": "predictor", "variant": "", "seed": 0},
    **{"source": {"name": "imagenet_captions", "images": None}, "characters": 2000},
    **{"max_tokens": LONGEST, "split_seed": 0, "test_share": 0.23, "validation_share": 0.1},
    "sentences": {"fewest": 2, "most": 10, "choice": "longest", "seed": 0},
    "rare": {"examples": 100, "train": 0.5, "test": 0.2},
    "filter": {
        **{"threshold": 0.5, "sure": 0.9, "bonus": 0.1},
        **{"curve": "linear", "exponent": 2.0, "lowest": 0.001},
    },
    **{"threads": 1, "precision": "32-true", "baseline": None, "downstream": None},
    "training": {
        **{"batch": 512, "epochs": 1, "learning_rate": 0.01, "backbone_learning_rate": 0.0},
        **{"warm_up": 0.1, "weight_decay": 0.0, "validate_every": 1},
    },
}


def predictor(encoder: dict) -> dict:
    """Return the parameters of a predictor."""
    network = {"encoder": encoder, "dropout": 0.0, "append_sentences": True, "epoch_share": 0.75}
    return {**DATASET, "predictor": network}


def text(rng: np.random.Generator) -> str:
    """Return so many words as a caption has: most have few, some very many."""
    count = int(np.clip(rng.lognormal(2.5, 0.9), 2, 300))
    return " ".join(WORDS[place] for place in rng.integers(len(WORDS), size=count))


def write(data: Path, count: int) -> None:
    """Write captions and class texts in the published layout."""
    rng = np.random.default_rng(0)
    folder = data / "imagenet_captions"
    folder.mkdir(parents=True)
    wnids = [f"n{number:08d}" for number in range(CLASSES)]

    def records() -> Iterator[str]:
        for number in range(count):
            wnid = wnids[int(rng.integers(CLASSES))]
            record = {"filename": f"{wnid}_{number}.JPEG", "wnid": wnid, "title": text(rng)}
            yield json.dumps({**record, "tags": [], "description": f"<p>{text(rng)}</p>"})

    with (folder / "imagenet_captions.json").open("w") as file:
        file.write("[")
        for number, record in enumerate(records()):
            file.write(",\n" * bool(number) + record)
        file.write("]")
    with (folder / "class_texts.csv").open("w") as file:
        file.write("wnid,class,text\n")
        for wnid in wnids:
            said = " ".join(f"{text(rng).capitalize()}." for _ in range(6))
            file.write(f"{wnid},class {wnid},{said}\n")


def whole_way() -> None:
    """Go from the published file to the filter's decisions; print seconds and peak memory."""
    from studies.learning import compute
    from studies.relevance import data, evaluate
    from studies.relevance.examples import ByLength, Texts, tokenized, words
    from studies.relevance.model import Reader, build
    from studies.relevance.params import Parameters
    from studies.runs.files import to_json, write_atomic
    from studies.runs.folder import claim, provenance

    given = predictor({"name": "bag", "width": 32, "vocabulary": 2000})
    parameters = Parameters.check(given, {"": "benchmark"})
    compute.prepare(parameters)
    start = time.process_time()
    collection = data.read(parameters)
    parts = data.split(collection, parameters)
    flat, pairs = collection.pairs()
    tokenizer = words(parameters.encoder, collection.texts)
    captions = tokenized(collection.captions, tokenizer, collection.fingerprint)
    limit = parameters.max_tokens
    behind = tokenizer.tokens(flat)
    texts = Texts(tokenizer, captions, collection.target, limit, pairs, behind)
    rows = np.flatnonzero(parts[pairs[:, 0]] == "train")
    batches = ByLength(rows, texts.lengths, 512, 0, round(0.75 * len(rows)))
    drawn = sum(len(batch) for batch in batches)
    with claim(parameters) as folder:
        network = build(parameters, CLASSES, tokenizer)
        reader = Reader(network, tokenizer, collection.wnids, collection.names, parameters)
        reader.save(folder / "model.safetensors")
        facts = provenance(dataset_fingerprint=collection.fingerprint)
        write_atomic(folder / "provenance.json", to_json(facts))
    evaluate.evaluate(parameters)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "gib": peak, "examples": len(pairs), "drawn": drawn}))


def scale() -> None:
    """Print how long so many captions take, and how much memory."""
    heading(f"the way from the file to the filter, {CLASSES} classes: time a caption v. 10,000")
    first = None
    for count in SIZES:
        with tempfile.TemporaryDirectory() as root:
            write(Path(root) / "data", count)
            places = {"STUDIES_DATA": f"{root}/data", "STUDIES_ROOT": f"{root}/root"}
            quiet = {"TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
            done = subprocess.run(
                [sys.executable, __file__, "whole"],
                env={**os.environ, **places, **quiet},
                capture_output=True,
                text=True,
                check=True,
            )
        found = json.loads(done.stdout.splitlines()[-1])
        each = found["seconds"] / count
        first = each if first is None else first
        said = f"{count:,} captions, {found['examples']:,} examples"
        line(said, f"{1e6 * each:.0f} µs", f"{1e6 * first:.0f} µs", each / first, most=1.25)
        line(
            "  peak memory, of 4 GiB", f"{found['gib']:.2f} GiB", "4 GiB", found["gib"] / 4, most=1
        )


def throughput() -> None:
    """Print how many texts a second are scored in batches of one length, and filled up."""
    import datasets
    import torch

    from studies.learning.compute import interleaved, threads
    from studies.relevance.examples import Texts, tokenized, words
    from studies.relevance.model import build, predict
    from studies.relevance.params import Parameters

    rng = np.random.default_rng(0)
    roberta = {"name": "roberta", "width": 256, "layers": 4, "heads": 4, "vocabulary": 2000}
    parameters = Parameters.check(predictor(roberta), {"": "benchmark"})
    table = datasets.Dataset.from_dict({"text": [text(rng) for _ in range(TEXTS)]})
    tokenizer = words(parameters.encoder, table["text"])
    tokens = tokenized(table, tokenizer, "benchmark")
    texts = Texts(tokenizer, tokens, np.zeros(TEXTS, dtype=np.int64), LONGEST)
    network = build(parameters, CLASSES, tokenizer).eval()

    def grouped() -> None:
        for _ in predict(network, texts, np.arange(TEXTS), "32-true", BATCH):
            pass

    @torch.inference_mode()
    def filled_up() -> None:
        for start in range(0, TEXTS, BATCH):
            some, real, *_ = texts[range(start, start + BATCH)]
            left = (0, LONGEST - some.shape[1])
            network(
                torch.nn.functional.pad(some, left, value=tokenizer.pad),
                torch.nn.functional.pad(real, left, value=False),
            )

    with threads(1):
        seconds = interleaved({"ours": grouped, "peer": filled_up}, ROUNDS)
    heading(f"captions a second, up to {LONGEST} tokens, mean {texts.lengths.mean():.0f}")
    mine, theirs = (TEXTS / seconds[name] for name in ("ours", "peer"))
    line(
        "batches of one length v. filled up",
        f"{np.median(mine):.0f} /s",
        f"{np.median(theirs):.0f} /s",
        float(np.median(mine / theirs)),
        least=2,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["whole"]:
        whole_way()
    else:
        throughput()
        scale()
