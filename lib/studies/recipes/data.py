"""The plates of a run: read from their source, split into parts, turned into inputs."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

import kitchen
from studies import demo, paths
from studies.inputs import images
from studies.inputs.features import features
from studies.inputs.splits import PARTS, refuse_empty, stratified
from studies.recipes import sources
from studies.recipes.ingredients import IngredientTable, from_csv, ingredients101, typical
from studies.recipes.params import Parameters
from studies.recipes.plates import Plates

__all__ = ["Examples", "Plates", "inputs", "read", "split", "targets"]


def read(parameters: Parameters) -> Plates:
    """Return the plates that the parameters name; raises StudyError when they are not there."""
    parameters.require_data()
    source = parameters.source
    if source.name == "kitchen":
        return from_kitchen(source.per_variant, source.seed)
    if source.name == "uecfood256":
        folder = paths.data() / "uecfood256" / "UECFOOD256"
        return sources.uecfood256(folder, table(source.ingredients))
    if source.ingredients == "recipes5k":
        return sources.recipes5k(paths.data() / "recipes5k")
    return sources.food101(paths.data() / "food101" / "food-101", table(source.ingredients))


def table(name: str) -> IngredientTable:
    """Return the table of ingredients of that name, or of a file below STUDIES_DATA."""
    if name == "typical":
        return typical()
    if name == "ingredients101":
        return ingredients101(paths.data() / "ingredients101")
    return from_csv(paths.data() / name)


def from_kitchen(per_variant: int, seed: int) -> Plates:
    """Return the embedded demo: dishes in variants, visible ingredients, reference recipes."""
    root = demo.kitchen(per_variant, seed) / "images"
    plates = kitchen.plates(per_variant, seed)
    dishes = sorted({one.dish for one in plates})
    variants = sorted({one.variant for one in plates})
    ingredients = sorted({name for one in plates for name in one.ingredients})
    return Plates(
        root=root,
        files=[one.file for one in plates],
        dishes=dishes,
        dish=np.array([dishes.index(one.dish) for one in plates]),
        ingredients=ingredients,
        present=np.array([[name in one.ingredients for name in ingredients] for one in plates]),
        variants=variants,
        variant=np.array([variants.index(one.variant) for one in plates]),
        references=[kitchen.recipe(one, seed) for one in plates],
    )


def split(plates: Plates, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`, stratified by dish, or by variant.

    A published test set is kept, and validation drawn from the rest where none is published. What
    was cut out of one photograph stays in one part. Raises StudyError when a part would be empty.
    """
    if plates.official is not None and set(PARTS) <= set(plates.official):
        return plates.official
    count = len(plates.files)
    photographs = np.arange(count) if plates.photographs is None else plates.photographs
    # a photograph counts for the stratum of its first plate
    _, first, whose = np.unique(photographs, return_index=True, return_inverse=True)
    strata = plates.dish if plates.variant is None else plates.variant
    parts = stratified(
        strata[first],
        parameters.validation_share,
        parameters.test_share,
        parameters.split_seed,
        None if plates.official is None else plates.official[first] == "test",
    )[whose]
    refuse_empty(parts, plates.root, "pictures", "dish")
    return parts


def inputs(plates: Plates, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, F) features of a frozen backbone.
    """
    trunk = parameters.network.trunk
    if trunk.name == "backbone" and not trunk.trained:
        return features(plates.paths, plates.root, trunk.weights)
    return images.load(plates.paths, parameters.image_size, plates.root)


def targets(plates: Plates, names: str) -> tuple[list[str], np.ndarray]:
    """Return the names that the softmax is over, dishes or variants, and (N,) the true ones."""
    if names == "variant":
        return plates.variants, plates.variant
    return plates.dishes, plates.dish


class Examples(Dataset):
    """Batches of pictures: rows in, inputs (B, ...), dish (B,) and ingredients (B, S) out."""

    def __init__(self, inputs: np.ndarray, dish: np.ndarray, present: np.ndarray) -> None:
        self.inputs, self.dish, self.present = inputs, dish, present

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return a batch."""
        chosen = np.asarray(rows)
        return (
            torch.from_numpy(self.inputs[chosen]),
            torch.from_numpy(self.dish[chosen]),
            torch.from_numpy(self.present[chosen]),
        )

    def __len__(self) -> int:
        return len(self.dish)
