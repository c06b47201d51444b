"""Own data: the tables, parameters and commands of the README, one example a study."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from studies.paths import REPOSITORY

SECTION = re.search(r"\n## Your own data\n(.*?)\n## ", (REPOSITORY / "README.md").read_text(), re.S)
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", SECTION[1], re.S)
SYSTEMS = {  # the cheapest that is trained
    "captioning": "resnet_lstm",
    **{"recipes": "shared_backbone", "relevance": "predictor", "triplets": "flexible"},
}
COLOURS = {"ramen": "gold", "udon": "white", "goulash": "brown", "pho": "green"}
WORDS = [
    "noodles",
    "broth",
    "spring",
    "onion",
    "beef",
    "basil",
    "egg",
    "paprika",
    "steam",
    "spoon",
    "bowl",
    "table",
]


def tables() -> dict[str, list[str]]:
    """The lines of every table, six pictures a dish."""
    said = np.random.default_rng(0)
    rows = {
        "labels.csv": ["file,label1,label2,label3"],
        "captions.csv": ["image,caption,split"],
        "plates.csv": ["image,dish,ingredients,variant"],
        "texts/captions.csv": ["id,class,text,relevant"],
        "texts/classes.csv": ["class,text", *(f"{one},It is hot. It is soup." for one in COLOURS)],
    }
    for dish in COLOURS:
        for k in range(6):
            image, words = f"photos/{dish} {k}.png", said.choice(WORDS, (2, 3)).tolist()
            part = "test" if k == 5 else "train"
            top, group = ("Europe", "stew") if dish == "goulash" else ("Asia", "noodles")
            rows["labels.csv"].append(f"{image},{top},{group},{dish}")
            rows["captions.csv"] += [f'{image},"{dish}, {" ".join(own)}",{part}' for own in words]
            rows["plates.csv"].append(f"{image},{dish},{';'.join(words[0])},plain {dish}")
            rows["texts/captions.csv"].append(
                f"{dish}{k},{dish},{dish} {' '.join(words[1])},{k % 2}"
            )
    return rows


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A copy of the repository where the README was followed, and what its commands printed."""
    root = tmp_path_factory.mktemp("own")
    for name in ("lib", "notebooks", "params"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(REPOSITORY / "Snakefile", root)
    for name, rows in tables().items():
        file = root / "data" / "own" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(rows), encoding="utf-8")
    (root / "data/own/photos").mkdir()
    for place, (dish, colour) in enumerate(COLOURS.items()):
        for k in range(6):
            picture = Image.new("RGB", (24, 24), "grey")
            picture.paste(colour, (2 + k, 2, 20, 9 + 3 * place))
            picture.save(root / f"data/own/photos/{dish} {k}.png")
    said, commands = "", "".join(text for kind, text in BLOCKS if kind == "sh").splitlines()
    environment = os.environ | {"STUDIES_ROOT": str(root), "PYTHONPATH": str(root / "lib")}
    environment.pop("STUDIES_DATA", None)
    for command in commands:
        words = shlex.split(command, comments=True)
        if words[:2] == ["make", "study"]:
            for kind, text in BLOCKS:
                if kind == "yaml":
                    change(root, text)
            systems = f"MODEL={','.join(SYSTEMS.values())}"
            words = [sys.executable, "-m", "studies", *words[2:], systems]
        options = {"cwd": root, "env": environment, "stderr": subprocess.STDOUT, "text": True}
        run = subprocess.run(words, stdout=subprocess.PIPE, timeout=600, **options)
        assert run.returncode == 0, run.stdout
        said += run.stdout
    return root, said


def change(root, text):
    """Write the lines of a YAML block into the file that its first line names."""
    file = root / text.split()[1]
    values = yaml.safe_load(file.read_text()) | yaml.safe_load(text)
    file.write_text(yaml.safe_dump({**values, **({"epochs": 1} if "epochs" in values else {})}))


@pytest.mark.parametrize(
    ("study", "told"),
    [
        (
            "captioning",
            "captions.csv: images 24, captions 48, train 18, validation 2, test 4; drawn",
        ),
        ("recipes", "plates.csv: plates 24, dishes 4, ingredients 12, "),
        ("relevance", "texts/captions.csv: captions 24, classes 4, "),
        ("triplets", "labels.csv: images 24, classes 4, levels 3, parts 0"),
    ],
)
def test_a_handful_of_files_goes_all_the_way(done, study, told):
    root, said = done
    assert f"own/{told}" in said
    run = root / "runs/own" / study / SYSTEMS[study] / "seed0"
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert predictions["cluster"].notna().all()
    report = pd.read_csv(root / "reports/own" / f"{study}.csv")
    assert set(report["n"].dropna()) == {len(predictions)} or study == "relevance"
    assert (root / "reports/own" / f"{study}.html").stat().st_size > 0
