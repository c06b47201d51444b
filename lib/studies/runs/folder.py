"""A run is a folder: how it is claimed, written without halves, and read back.

`runs/<dataset>/<study>/<model>[@<variant>]/seed<k>/` holds `params.yaml`, `provenance.json`,
`curves.csv`, `checkpoint/`, `model.safetensors` (training is complete), `items.json`,
`predictions.parquet`, `metrics.json` (evaluation is complete) and the executed notebooks.
"""

import importlib
import json
import platform
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from studies import paths
from studies.paths import StudyError, relative
from studies.runs.files import PART, digest, locked, sealed, unsealed, write_atomic
from studies.runs.params import RunParameters, read_yaml, schema

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "numpy", "scikit-learn", "pandas")


@contextmanager
def claim(parameters: RunParameters) -> Iterator[Path]:
    """Yield the run folder of these parameters, locked, with its `params.yaml` written.

    What a killed process left half-written is removed. What the work in the block cost is added to
    `provenance.json`, and digests of the files.
    Raises StudyError when the folder is damaged or was made with other parameters.
    """
    folder = parameters.folder()
    with locked(folder):
        refuse_damaged(folder)
        resolved = parameters.resolved()
        file = folder / "params.yaml"
        if file.exists():
            refuse_other_parameters(file, resolved)
        else:
            write_atomic(file, yaml.safe_dump(resolved, sort_keys=False))
        for half in folder.rglob(f".*{PART}"):
            half.unlink(missing_ok=True)
        yield folder
        complete_provenance(folder)


def refuse_other_parameters(file: Path, resolved: dict[str, Any]) -> None:
    """Raise StudyError naming each parameter in which `file` differs from `resolved`."""
    before = read_yaml(file)
    changed = [
        f"{name} was {before.get(name)!r}, now {resolved.get(name)!r}"
        for name in changed_names(before, resolved)
    ]
    if changed:
        raise StudyError(
            f"{file.parent} was made with other parameters ({'; '.join(changed)}): give the new "
            "setting a name of its own (<model>@<variant>.yaml), or delete the folder to make it "
            "anew"
        )


def changed_names(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names of the parameters in which two sets of them differ."""
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def git_state() -> dict[str, Any]:
    """Return the commit of the repository and whether tracked files differ from it."""
    command = ["git", "-C", str(paths.REPOSITORY)]
    asked = ["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]
    try:
        commit, changes = (
            subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit.strip(), "dirty": bool(changes)}


def provenance(**facts: Any) -> dict[str, Any]:
    """Return what a result was made with: versions, commit, machine, peak memory, and `facts`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes where Linux counts KiB
    mebibytes = peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "git": git_state(),
        "platform": platform.platform(),
        "peak_memory_mib": round(mebibytes),
        **facts,
    }


# What a run costs, in seconds of processor time; work in a process that it waits for counts.

WORK = ("training", "decoding", "scoring")
SPENT: Counter[str] = Counter()  # by kind of work, not yet in a provenance; "before": all that is


def processor_seconds() -> float:
    """Return what this process has used, and those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@contextmanager
def accounted(work: str) -> Iterator[None]:
    """Count the block, or a decorated function, as work of a kind, but for blocks within it."""
    began, before = processor_seconds(), SPENT.total()
    yield
    SPENT[work] += processor_seconds() - began - (SPENT.total() - before)


def complete_provenance(folder: Path) -> None:
    """Add to a `provenance.json` the digests, and what was spent since last told, if on work."""
    spent, file = {work: SPENT.pop(work) for work in WORK if work in SPENT}, folder / PROVENANCE
    if not file.exists():
        return
    before = read_json(file)
    facts = dict(before)
    if spent:
        now, told = processor_seconds(), facts.get("processor_seconds", {})
        spent["all"], SPENT["before"] = now - SPENT["before"], now
        facts["processor_seconds"] = {
            kind: round(told.get(kind, 0.0) + spent.get(kind, 0.0), 2) for kind in (*WORK, "all")
        }
    facts["digests"] = {name: digest(folder / name) for name in written(folder)}
    if facts != before:
        write_atomic(file, sealed(facts))


# Whether a run still is what was written: its provenance holds a digest of each file, and its own.

PROVENANCE = "provenance.json"
TRAINED = ("params.yaml", "curves.csv", "steps.csv", "model.safetensors")
SCORED = ("items.json", "predictions.parquet", "metrics.json")


def written(folder: Path) -> list[str]:
    """Return the names of the files of a run that have digests, of those that are there."""
    return [name for name in (*TRAINED, *SCORED) if (folder / name).exists()]


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a run, as far as known; none of what is made anew."""
    known, there = read_json(folder / PROVENANCE).get("digests", {}), written(folder)
    if "model.safetensors" in known.keys() - there and paths.runs() in folder.parents:
        return {}
    anew = () if "metrics.json" in there else SCORED
    return {name: known[name] for name in known if name not in anew}


def refuse_damaged(folder: Path) -> None:
    """Raise StudyError when a file of a run is not what was written when a command ended well."""
    for name in digests(folder).keys() & written(folder):
        intact(folder / name)


def intact(file: Path) -> Path:
    """Return a file of a run; raise StudyError when it is not what was written."""
    known = digests(file.parent)
    if file.name in known and digest(file) != known[file.name]:
        raise damaged(file)
    return file


def read_json(file: Path) -> dict[str, Any]:
    """Return what a JSON file of a run says, nothing if there is none.

    Raises StudyError when it is damaged.
    """
    try:
        return unsealed(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (ValueError, OSError) as error:
        raise damaged(file) from error


def damaged(file: Path) -> StudyError:
    """Return what to say of a file that is not what a run wrote."""
    remedy = f"restore it with `git checkout {relative(file)}`"
    if paths.runs() in file.parents:
        remedy = "delete the files of its folder, but not checkpoint/, and give the command again"
    return StudyError(f"{relative(file)}: is not what the run wrote; {remedy}")


@dataclass(frozen=True)
class LoadedRun:
    """A run folder read back."""

    folder: Path
    params: dict[str, Any]

    @property
    def system(self) -> str:
        """Return `model` or `model@variant`."""
        return "@".join(filter(None, (self.params["model"], self.params["variant"])))

    @property
    def trained(self) -> bool:
        """Return whether the system is trained; chance has no part in one that is not."""
        return "parameters_trained" in self.provenance

    @property
    def metrics(self) -> dict[str, float]:
        """Return the scores of the test set, by metric id."""
        return self.read("metrics.json", read_json)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Return one row a test item: `id`, then the study's truth and prediction columns.

        The file is read once, and all who ask share the frame: do not change it in place.
        """
        frame = self.read("predictions.parquet", pd.read_parquet)
        # halves are for the disk: pandas cannot sort them
        return frame.astype(dict.fromkeys(frame.select_dtypes("float16"), "float64"))

    @property
    def items(self) -> dict[str, Any]:
        """Return what a report needs that is no prediction: class names, counts, the tree."""
        return self.read("items.json", read_json)

    @property
    def curves(self) -> pd.DataFrame:
        """Return one row an epoch."""
        return self.read("curves.csv", pd.read_csv)

    @property
    def provenance(self) -> dict[str, Any]:
        """Return what the run was made with."""
        return self.read(PROVENANCE, read_json)

    @property
    def parameters(self) -> Any:
        """Return the typed parameters of the study; raises StudyError when they are no such."""
        given = {name: value for name, value in self.params.items() if name != "study"}
        return schema(self.params["study"]).check(given, {"": str(self.folder / "params.yaml")})

    def model(self) -> Any:
        """Return the trained model, ready to predict; that of evidence lies below `runs/`."""
        run = self
        if not (self.folder / "model.safetensors").exists():
            run = replace(self, folder=self.parameters.folder())
            run.read("model.safetensors", intact)
        return importlib.import_module(f"studies.{self.params['study']}.model").load(run)

    def refuse_other_images(self, fingerprint: str, root: Path) -> None:
        """Raise StudyError when the images below `root` are not those of training."""
        self.refuse_other_data(fingerprint, f"images, or another table, than {root} holds now")

    def refuse_other_data(self, fingerprint: str, what: str) -> None:
        """Raise StudyError when the run was made with other data, `what` in words."""
        if fingerprint != self.provenance["dataset_fingerprint"]:
            raise StudyError(
                f"{relative(self.folder)} was trained on other {what}; restore them, or delete the "
                "run folder to train anew"
            )

    def read(self, name: str, read: Callable[[Path], Any]) -> Any:
        """Return what `read` makes of a file; raise StudyError when it is missing or damaged."""
        file = self.folder / name
        if not file.exists():
            raise StudyError(
                f"{self.folder} has no {name}: delete metrics.json, if it is there, and run its "
                "command again to finish it"
            )
        try:
            return read(intact(file))
        except (ValueError, OSError) as error:
            raise damaged(file) from error


def finished(folder: Path) -> list[LoadedRun]:
    """Return the evaluated runs below a folder of systems, by folder name."""
    return [load_run(file.parent) for file in sorted(folder.glob("*/seed*/metrics.json"))]


def load_run(folder: Path | str) -> LoadedRun:
    """Read a run folder: `.params .metrics .predictions .curves .provenance .model()`.

    Raises StudyError when the folder is no run folder.
    """
    folder = Path(folder)
    file = folder / "params.yaml"
    if not file.exists():
        raise StudyError(f"{folder} is no run folder: it has no params.yaml")
    return LoadedRun(folder, read_yaml(intact(file)))


# The `model.safetensors` of a run, written and read back.


AGAIN = "delete it, and the command that trained the run writes it again from its checkpoint"


def write_weights(file: Path, tensors: Mapping[str, "Tensor"], said: dict[str, Any]) -> None:
    """Write the weights of a network, and as JSON what else belongs to it, whole or not at all."""
    from safetensors.torch import save  # late: it imports torch, which reading a run does not need

    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # safetensors writes several entries in any order, and one always the same
    write_atomic(file, save(whole, {"said": json.dumps(said)}))


@contextmanager
def read_weights(file: Path) -> Iterator[tuple[dict[str, Any], dict[str, "Tensor"]]]:
    """Yield what `write_weights` wrote: what was said, and the tensors by name, on the CPU.

    Raises StudyError when the file is missing or damaged, or when in the block, where a network is
    built, what it holds does not fit.
    """
    from safetensors import safe_open

    if file.exists():
        intact(file)
    try:
        with safe_open(file, framework="pt") as content:
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
            said = json.loads(content.metadata()["said"])
    except Exception as error:  # which one depends on the place of the damage
        raise StudyError(f"{file}: cannot be read ({type(error).__name__}); {AGAIN}") from error
    try:
        yield said, tensors
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise StudyError(f"{file}: holds another system's weights; {AGAIN}") from error
