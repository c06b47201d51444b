"""Pictures of plates with what is true of each: dish, ingredients, perhaps a recipe."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Plates:
    """N pictures of C dishes with S ingredients.

    Attributes:
        root: the folder that files are relative to.
        files: N picture files.
        dishes: C names.
        dish: (N,) index into `dishes`.
        ingredients: S names.
        present: (N, S) whether an ingredient is there.
        official: (N,) published part, `train`, `validation` or `test`; None for no published split.
        photographs: (N,) what each was cut out of; plates of one photograph stay in one part. None
            where each is a photograph of its own.
        variants: names of variants of dishes; None where dishes have none.
        variant: (N,) index into `variants`; None likewise.
        references: N recipes; None where there are none.

    """

    root: Path
    files: list[str]
    dishes: list[str]
    dish: np.ndarray
    ingredients: list[str]
    present: np.ndarray
    official: np.ndarray | None = None
    photographs: np.ndarray | None = None
    variants: list[str] | None = None
    variant: np.ndarray | None = None
    references: list[str] | None = None

    @cached_property
    def paths(self) -> list[Path]:
        """Return the picture files."""
        return [self.root / file for file in self.files]
