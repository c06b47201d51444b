"""Every parameter file that is shipped is valid, and says what its name says."""

import pytest

from studies.paths import REPOSITORY, StudyError
from studies.runs.params import read_yaml, run_files
from studies.triplets.params import Parameters

FOLDERS = sorted(file.parent for file in (REPOSITORY / "params").glob("*/*/dataset.yaml"))


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}"
)
def test_every_parameter_file_loads_and_is_named_for_what_it_says(folder):
    module = __import__(f"studies.{folder.parent.name}.params", fromlist=["Parameters"])
    systems = run_files(folder.parent.name, folder.name)
    assert set(systems) == {file.stem for file in folder.glob("*.*")} - {"dataset"}
    for system, files in systems.items():
        parameters = module.Parameters.from_files(files, ["seed=0"])
        model, _, variant = system.partition("@")
        said = (parameters.study, parameters.dataset, parameters.model, parameters.variant)
        assert said == (folder.parent.name, folder.name, model, variant)
        assert not set(read_yaml(files[0])) & set(read_yaml(files[1]))
        for file in files:
            assert file.read_text().startswith("# Purpose: ")


TRIALS = sorted((REPOSITORY / "params").glob("*/*/trials/*.yaml"))


@pytest.mark.parametrize("file", TRIALS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_every_trial_is_valid_and_no_two_are_the_same(file):
    listed = read_yaml(file)
    shared = read_yaml(file.parents[1] / "dataset.yaml")
    assert set(listed) == {"base", "trials"}
    assert listed["base"]["model"] == file.stem
    assert file.read_text().startswith("# Purpose: ")
    tried = []
    for name, given in listed["trials"].items():
        values = {**shared, **listed["base"], **given, "variant": name, "seed": 0}
        Parameters.check(values, {"": f"{file} {name}"})
        del values["variant"]
        assert values not in tried, name
        tried.append(values)


def test_every_model_has_as_many_trials():
    for folder in {file.parent for file in TRIALS}:
        listed = {file.stem: len(read_yaml(file)["trials"]) for file in folder.glob("*.yaml")}
        assert set(listed) == {"cross_entropy", "triplet", "flexible", "hybrid"}
        assert len(set(listed.values())) == 1, listed


def test_no_parameter_file_lies_outside_a_dataset():
    files = set((REPOSITORY / "params").rglob("*.*"))
    assert {file.parent for file in files} == {*FOLDERS, *(file.parent for file in TRIALS)}


def test_an_unknown_dataset_gets_the_nearest():
    with pytest.raises(StudyError, match=r"no dataset `tinny`; did you mean `tiny`\?$"):
        run_files("triplets", "tinny")
