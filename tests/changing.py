"""Parameters and runs with something changed, and what a user is told of it."""

import copy

from sentences import refused
from studies.runs.files import digest, sealed, unsealed
from studies.runs.params import read_yaml, run_files


def bits(folder):
    """Digests of the weights and curves of a run."""
    return {name: digest(folder / name) for name in ("model.safetensors", "curves.csv")}


def values_of(study, dataset, system):
    """The values of a shipped run, seed 0."""
    values = {"seed": 0}
    for file in run_files(study, dataset)[system]:
        values |= read_yaml(file)
    return values


def changed(good, changes):
    """Values but for some: `network.trunk.growth` is a name inside blocks, `...` takes one out."""
    values = copy.deepcopy(good)
    for name, value in changes.items():
        *blocks, last = name.split(".")
        place = values
        for block in blocks:
            place = place[block]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return values


def change_run(folder, **facts):
    """Change facts of a run's provenance, and let its other files be changed too."""
    file = folder / "provenance.json"
    known = unsealed(file.read_text()) | {"digests": {}}
    file.write_text(sealed(known | facts))


def told_of(parameters, good, changes):
    """What the class `parameters` says of mistaken values, without the name of their file."""
    told = refused(parameters.check, changed(good, changes), {"": "mine.yaml"})
    assert told.startswith("mine.yaml: ")
    assert "pydantic" not in told.lower()
    assert len(told) < 400
    return told.removeprefix("mine.yaml: ")
