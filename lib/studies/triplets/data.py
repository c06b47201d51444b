"""The dataset of a run: read from its source, split into parts, turned into inputs."""

from pathlib import Path

import numpy as np
import pandas as pd

from studies import paths
from studies.inputs import images, reading
from studies.inputs.features import features
from studies.inputs.reading import divided, sizes, tell
from studies.inputs.tables import read_table
from studies.paths import StudyError, relative
from studies.triplets import readers
from studies.triplets.params import Parameters
from studies.triplets.readers import LabelledImages


def read(parameters: Parameters) -> LabelledImages:
    """Return the dataset that the parameters name.

    Of folders and tables a line says what was read. Raises StudyError when the dataset is missing,
    an image has no class or two, or all have the same.
    """
    parameters.require_data()
    source = parameters.source
    if source.name == "grocery":
        return readers.grocery(paths.data() / "grocery")
    if source.name == "hyperkvasir":
        return readers.hyperkvasir(paths.data() / "hyperkvasir", source.test_fold)
    if source.name == "table":
        found = readers.from_table(paths.data() / source.file, source.groups)
    else:
        found = readers.from_folder(root(parameters))
    numbers = {"images": len(found.files), "classes": len(found.classes)}
    parts = {"parts": 0} if found.official is None else sizes(found.official)
    tell(source, numbers | {"levels": len(found.names), **parts}, found.notes)
    if len(found.classes) == 1:
        raise StudyError(
            f"{found.root}: all images are of one class, `{found.class_names[0]}`; add images of "
            "another, there is nothing to tell apart"
        )
    return found


def root(parameters: Parameters) -> Path:
    """Return the folder that image ids start from."""
    source = parameters.source
    if source.name == "kitchen":
        return reading.kitchen(source.per_variant, source.seed) / "images"
    if source.name == "table":
        return (paths.data() / source.file).parent
    return paths.data() / (source.folder if source.name == "folder" else source.parts[0])


def split(dataset: LabelledImages, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`.

    `random` is stratified by class. `official` keeps the published test set; the validation set is
    a stratified share of what remains, since published ones need not cover all classes. Of each
    class at least one image is trained on, unless the published test set holds them all.
    """
    official = None
    if parameters.split == "official":
        if dataset.official is None or "test" not in dataset.official:
            raise StudyError(f"{dataset.root}: has no official split; set split: random")
        official = np.where(dataset.official == "test", "test", "train")
    return divided(dataset.class_index, parameters, dataset.root, "images", "class", official)


def inputs(dataset: LabelledImages, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, F) float features of a frozen backbone.
    """
    if parameters.backbone.name == "frozen":
        models = parameters.backbone.models
        found = [features(dataset.paths, dataset.root, name) for name in models]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)
    return images.load(dataset.paths, parameters.image_size, dataset.root)


def relations(dataset: LabelledImages, parameters: Parameters) -> np.ndarray:
    """Return (C, H) labels of each class, whose differences set the margins of its loss.

    They are the labels of the dataset, or what `loss.relations` says. Raises StudyError when its
    file leaves out a class.
    """
    kind = getattr(parameters.loss, "relations", "labels")
    if kind == "labels":
        return dataset.classes
    if kind == "shuffled":
        return np.random.default_rng([parameters.seed, 2]).permutation(dataset.classes)
    file = paths.REPOSITORY / kind
    groups = read_table(file, remedy="name the classes in a column `class`").set_index("class")
    if absent := sorted(set(dataset.class_names) - set(groups.index)):
        raise StudyError(f"{relative(file)}: has no line for the class {absent[0]}; add it")
    groups = groups.loc[dataset.class_names].reset_index()
    # the class itself is the last group
    return np.stack([pd.factorize(groups[name])[0] for name in [*[*groups][1:], "class"]], axis=1)


def near_duplicates(dataset: LabelledImages, parts: np.ndarray) -> pd.DataFrame:
    """Return for each test image what its perceptual hash is near to, (T,) rows.

    `cluster`: test images that hang together by near-duplicates have the same number;
    `bits_to_training`: how many bits it is from its nearest training image.
    Raises StudyError when an image cannot be read.
    """
    # late: training compares no test images
    from scipy.sparse import csr_array, vstack
    from scipy.sparse.csgraph import connected_components

    hashes = images.hashes(dataset.paths, dataset.root)
    train, test = (hashes[parts == part] for part in ("train", "test"))
    bits = [int(np.bitwise_count(one ^ train).min()) for one in test]
    alike = [csr_array([np.bitwise_count(one ^ test) <= images.DUPLICATE_BITS]) for one in test]
    _, cluster = connected_components(vstack(alike))
    return pd.DataFrame({"cluster": cluster, "bits_to_training": bits})
