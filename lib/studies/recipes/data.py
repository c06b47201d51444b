"""The plates of a run: read from their source, split into parts, turned into inputs."""

from dataclasses import replace

import numpy as np

import kitchen
from studies import paths
from studies.inputs import images, reading
from studies.inputs.reading import divided, tell_parts
from studies.paths import StudyError
from studies.recipes import readers
from studies.recipes.model import frozen
from studies.recipes.params import FOLDERS, Parameters
from studies.recipes.readers import Plates


def read(parameters: Parameters) -> Plates:
    """Return the plates that the parameters name; raises StudyError when they are not there."""
    parameters.require_data()
    source = parameters.source
    if source.name == "kitchen":
        return from_kitchen(source.per_variant, source.seed)
    if source.name == "table":
        plates = readers.from_table(paths.data() / source.file)
        network = parameters.network
        if plates.variants is None and network is not None and network.names == "variant":
            raise StudyError(f"{source.file}: has no column `variant`; set network.names: dish")
        return plates
    folder = paths.data() / FOLDERS[source.name]
    if source.name == "uecfood256":
        return readers.uecfood256(folder, readers.table(source.ingredients))
    if source.ingredients == "recipes5k":  # which has photographs of its own
        plates = readers.recipes5k(paths.data() / FOLDERS["recipes5k"])
    else:
        plates = readers.food101(folder, readers.table(source.ingredients))
    return replace(plates, grouped=source.groups)


def from_kitchen(per_variant: int, seed: int) -> Plates:
    """Return the embedded demo: dishes in variants, visible ingredients, reference recipes."""
    plates = kitchen.plates(per_variant, seed)
    variants, variant = np.unique([plate.variant for plate in plates], return_inverse=True)
    return Plates.of(
        reading.kitchen(per_variant, seed) / "images",
        [plate.file for plate in plates],
        [plate.dish for plate in plates],
        [plate.ingredients for plate in plates],
        variants=variants.tolist(),
        variant=variant,
        references=[kitchen.recipe(plate, seed) for plate in plates],
    )


def split(plates: Plates, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`, stratified by dish, or by variant.

    A published test set is kept, and validation drawn from the rest where none is published. What
    was cut out of one photograph stays in one part. Raises StudyError when a part would be empty.
    """
    # a photograph counts for the stratum of its first plate
    _, first, whose = np.unique(plates.clusters, return_index=True, return_inverse=True)
    strata = plates.dish if plates.variant is None else plates.variant
    official = None if plates.official is None else plates.official[first]
    parts = divided(strata[first], parameters, plates.root, "pictures", "dish", official)[whose]
    numbers = {"plates": len(parts), "dishes": len(plates.dishes)}
    numbers["ingredients"] = len(plates.ingredients)
    tell_parts(parameters.source, numbers, parts, official)
    return parts


def inputs(plates: Plates, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or features of a frozen backbone: see `frozen`.
    """
    if parameters.network.frozen:
        return frozen(plates.paths, plates.root, parameters.network)
    return images.load(plates.paths, parameters.image_size, plates.root)
