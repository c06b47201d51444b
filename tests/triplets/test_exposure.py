"""Which pictures a whole training is shown, told by their pixels on their way into it."""

import csv
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from studies.inputs import images
from studies.runs.folder import load_run
from studies.triplets.evaluate import evaluate


@pytest.fixture
def album(sandbox, colours):
    """The folder of colours, 20 pictures a class; 12 of them are for training."""
    return colours(sandbox / "data" / "colours", 20)


@pytest.fixture
def watch(monkeypatch):
    """Return a function that trains and says which files were trained on, validated on, looked
    among by k-NN in validation, and kept as references.
    """
    from studies.triplets import train as module

    def run(settings, album):
        files = sorted(album.rglob("*.png"))
        known = {images.decode(file, 16).tobytes(): file for file in files}
        assert len(known) == len(files)
        trained, validated, looked = [], [], []

        def names(pixels):
            return [known[np.asarray(p).tobytes()].relative_to(album).as_posix() for p in pixels]

        def spy(place, name, where, pixels_of):
            call = getattr(place, name)

            def noted(*given):
                where.append(names(pixels_of(given)))
                return call(*given)

            patch.setattr(place, name, noted)

        with monkeypatch.context() as patch:
            spy(module.Learner, "training_step", trained, lambda given: given[1][0])
            spy(module.Learner, "validation_step", validated, lambda given: given[1][0])
            spy(module, "run_network", looked, lambda given: given[1])
            folder = module.train(settings)
        return SimpleNamespace(
            folder=folder,
            trained=flat(trained),
            validated=flat(validated),
            looked=flat(looked[:-1]),
            references=looked[-1],
        )

    return run


def flat(batches) -> list[str]:
    return [file for batch in batches for file in batch]


def classes_of(files) -> set[str]:
    return {file.rpartition("/")[0] for file in files}


class TestHeldOut:
    @pytest.fixture(params=["cross_entropy", "triplet", "hybrid"])
    def settings(self, request, parameters):
        return parameters(request.param, held_out=2, decide="neighbours")

    def test_held_out_classes_are_tested_and_never_learned_from(self, album, watch, settings):
        seen = watch(settings, album)
        everything = classes_of(file.relative_to(album).as_posix() for file in album.rglob("*.png"))
        learned = classes_of(seen.trained)
        assert len(everything - learned) == 2
        assert classes_of(seen.validated) == classes_of(seen.looked) == learned
        assert classes_of(seen.references) == everything
        frame = load_run(evaluate(settings)).predictions
        assert classes_of(frame["id"]) == everything
        assert not set(frame["id"]) & {*seen.trained, *seen.validated, *seen.references}
        classes = pd.read_csv(seen.folder / "classes.csv", index_col="class")
        unseen = classes.index[classes["unseen"]]
        # the class of one level less repeats its lowest label
        assert {name.replace("green/green", "green") for name in unseen} == everything - learned
        assert set(unseen) & set(frame["predicted_class"])

    def test_other_pictures_of_held_out_classes_leave_the_network_as_it_is(
        self, album, watch, settings, draw, sandbox, monkeypatch
    ):
        first = watch(settings, album)
        out = classes_of(first.references) - classes_of(first.trained)
        for number, name in enumerate(sorted(out)):
            for file in sorted((album / name).iterdir()):
                draw(file, (128, 128, 128), seed=9000 + 100 * number + int(file.stem), noise=90)
        monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "other"))
        second = watch(settings, album)
        assert second.trained == first.trained
        assert second.validated == first.validated
        one, other = (load_file(seen.folder / "model.safetensors") for seen in (first, second))
        for name in one.keys() - {"references"}:
            assert one[name].tobytes() == other[name].tobytes(), name
        kept = np.array([file.rpartition("/")[0] not in out for file in first.references])
        assert (one["references"] == other["references"]).all(1).tolist() == kept.tolist()
        curves = [(seen.folder / "curves.csv").read_bytes() for seen in (first, second)]
        assert curves[0] == curves[1]


def test_fewer_training_images_are_among_more(sandbox, colours, watch, parameters):
    album = colours(sandbox / "data" / "colours", 40)
    runs = {}
    for most in (5, 10, 20, None):
        settings = parameters("flexible", variant=f"most{most or ''}", train_per_class=most)
        runs[most] = watch(settings, album)
        per_class = Counter(file.rpartition("/")[0] for file in set(runs[most].trained))
        assert set(per_class.values()) == {most or 24}
        assert len(per_class) == 7
        assert set(runs[most].looked) == set(runs[most].references) == set(runs[most].trained)
        assert runs[most].validated == runs[5].validated
        assert len(runs[most].trained) == len(runs[5].trained)
    for fewer, more in pairwise(runs.values()):
        assert set(fewer.trained) < set(more.trained)
    steps = [load_run(seen.folder).curves["step"].tolist() for seen in runs.values()]
    assert all(counted == steps[0] for counted in steps)


def test_the_test_images_of_another_split_are_spared(sandbox, album, watch, parameters):
    files = sorted(file.relative_to(album).as_posix() for file in album.rglob("*.png"))
    published = {file for file in files if int(file[-6:-4]) % 4 == 0}
    with (album / "labels.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "label1", "label2", "label3", "split"])
        for file in files:
            labels = [*file.split("/")[:-1], ""][:3]
            rows.writerow([file, *labels, "test" if file in published else "train"])
    table = {"source": {"name": "table", "file": "colours/labels.csv", "groups": False}}
    random = load_run(evaluate(parameters("triplet", variant="random", **table))).predictions["id"]
    assert len(published & set(random)) > 0
    settings = parameters("triplet", **table, split="official", spare_test_of="random")
    seen = watch(settings, album)
    used = {*seen.trained, *seen.validated, *seen.looked, *seen.references}
    assert not used & {*published, *random}
    assert len(used) == len(set(files) - published - set(random))
    assert set(load_run(evaluate(settings)).predictions["id"]) == published
