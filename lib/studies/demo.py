"""The kitchen in the cache: its pictures, and what its simulated judges said, each made once."""

from pathlib import Path

import kitchen as world
from studies import paths
from studies.paths import StudyError
from studies.runs.files import made_once

# Raise it whenever a picture or a file is made otherwise: folders made before are then left alone.
VERSION = 1


def kitchen(per_variant: int, seed: int = 0) -> Path:
    """Return the folder of a drawn kitchen, as `kitchen.write_images` fills it at the first call.

    Processes may call it at once; a killed call leaves no half-made folder.
    Raises StudyError when there is no such kitchen, or when the cache cannot be written.
    """
    plates = _plates(per_variant, seed)
    folder = paths.cache() / f"kitchen{VERSION}-{per_variant}-{seed}"
    return made_once(folder, lambda partial: world.write_images(partial, plates))


def judged(per_variant: int, seed: int = 0) -> Path:
    """Return a folder like Flickr8k's texts, as `kitchen.write_judgements` fills it once.

    Raises StudyError as `kitchen` does.
    """
    plates = _plates(per_variant, seed)
    folder = paths.cache() / f"judges{VERSION}-{per_variant}-{seed}"
    return made_once(folder, lambda partial: world.write_judgements(partial, plates, seed))


def _plates(per_variant: int, seed: int) -> list[world.Plate]:
    try:
        return world.plates(per_variant, seed)
    except ValueError as error:
        raise StudyError(str(error)) from error
