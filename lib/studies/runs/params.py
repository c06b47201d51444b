"""Typed parameters with strict names.

papermill takes a misspelt parameter for a new variable and runs with the default. Here every
value passes a schema first: an unknown name, a wrong type or an impossible value is one sentence
that names the file, the parameter and the nearest valid name.
"""

import argparse
import ast
import difflib
import importlib
import json
import linecache
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from studies import paths
from studies.paths import StudyError, relative

# text to YAML, papermill and Snakemake, whoever reads it and whether or not it is quoted
NAME = r"^(?!(yes|no|on|off|true|false|null|nan|inf|infinity)$)[a-z][a-z0-9_]*\Z"
Name = Annotated[str, Field(pattern=re.compile(NAME))]
Variant = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_]*)?$")]  # "" is no variant
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Block(BaseModel):
    """A group of parameters: no unknown names, no silent conversions, no changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_names(cls, values: Any) -> Any:
        """Refuse a name that is none here, before its absence elsewhere is complained of."""
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                context = {"name": str(name), "nearest": suggestion(str(name), cls.model_fields)}
                raise PydanticCustomError("unknown", "{nearest}", context)
        return values

    @staticmethod
    def refuse(wrong: object, problem: str) -> None:
        """Raise ValueError, which pydantic makes a complaint of, when parameters contradict."""
        if wrong:
            raise ValueError(problem)


class Schema(Block):
    """Parameters that a file, a command line or a notebook gives."""

    @classmethod
    def check(cls, values: dict[str, Any], origin: Mapping[str, str]) -> Self:
        """Return the typed parameters.

        `origin` says for each name which file or cell it came from, and at "" for all others.
        Raises StudyError with one sentence for the first thing that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise StudyError(explain(values, origin, error)) from None

    @classmethod
    def from_notebook(cls) -> Self:
        """Check the values of the notebook's parameters cell and of papermill's injected one.

        Both are found among the cells already run by their first line, so that variables of later
        cells are not taken for parameters when a cell is run again.
        """
        from IPython import get_ipython

        variables, names = get_ipython().user_ns, {}
        # those of a kernel that keeps no history, such as nbval's, are where tracebacks find them
        kept = ("".join(entry[2]) for entry in linecache.cache.values() if len(entry) == 4)
        for source in list(filter(None, variables["In"])) or kept:
            if source.startswith("# Parameters:"):
                names = assigned(source)
            elif source.startswith("# Parameters\n"):
                names |= assigned(source)
        if not names:
            raise StudyError("run the cell tagged `parameters` first (it begins `# Parameters:`)")
        return cls.from_names({name: variables[name] for name in names}, "parameters cell")

    @classmethod
    def from_names(cls, values: dict[str, Any], place: str, origin: Mapping[str, str] = {}) -> Self:
        """Check values that come from one place, but for those that `origin` names."""
        return cls.check(values, {"": place, **origin})


class RunParameters(Schema):
    """What every study needs; each study's `params.py` adds its own.

    There are no defaults: whatever changes a result stands in a file or in the notebook's cell.
    """

    study: ClassVar[str]

    dataset: Name
    model: Name
    variant: Variant
    seed: Seed
    threads: Count
    precision: Literal["32-true", "bf16-mixed", "auto"]
    source: Block  # each study says which blocks

    @property
    def system(self) -> str:
        """Return `model` or `model@variant`."""
        return "@".join(filter(None, (self.model, self.variant)))

    @property
    def trained(self) -> bool:
        """Whether the system is trained; one whose `network` is null is evaluated as it is."""
        return getattr(self, "network", self) is not None

    @property
    def by_chance(self) -> bool:
        """Whether another seed may give another result."""
        return self.trained

    @property
    def after(self) -> list[str]:
        """Return the systems that must be evaluated before this one."""
        return []

    def sister(self, system: str) -> Self:
        """Return the parameters of another system: its own file, and everything else as here.

        Raises StudyError when `params/` has no such system on the dataset.
        """
        listed = run_files(self.study, self.dataset)
        if system not in listed:
            raise StudyError(
                f"{self.system} builds on `{system}`, which {self.dataset} does not have"
                f"{suggestion(system, listed)}"
            )
        _, *own = listed[system]
        values = self.model_dump(mode="json") | read_given(own)[0]
        return self.check(values, {"": relative(own[-1])})

    def builds_on(self) -> list[Self]:
        """Return the parameters of what must be evaluated before this run."""
        return [self.sister(system) for system in self.after]

    def folder(self) -> Path:
        """Return the run folder of these parameters."""
        return paths.runs() / self.dataset / self.study / self.system / f"seed{self.seed}"

    def require_data(self) -> None:
        """Raise StudyError when the published data of the run is missing; each study's own."""

    @classmethod
    def from_names(cls, values: dict[str, Any], place: str, origin: Mapping[str, str] = {}) -> Self:
        """Return the parameters of `dataset`, `system` and `seed`, with `changes`.

        The files of `params/` say everything else. Values by any other name, which papermill's `-f`
        gives, count as changes where they are not what the files say; `model` and `variant` name
        the system then. Raises StudyError with one sentence for the first thing that is wrong.
        """
        dataset, system, seed, changes = choice(cls.study, values, place)
        model, _, variant = system.partition("@")
        content, places = read_given(system_files(cls.study, dataset, system))
        content.update(changes, dataset=dataset, model=model, variant=variant, seed=seed)
        places.update(dict.fromkeys([*changes, "seed", ""], place))
        return cls.check(content, {**places, **origin})

    def table(self) -> pd.DataFrame:
        """Return every parameter and its value, as YAML writes it."""
        flow = {"default_flow_style": True, "width": 10**6}
        # inside a list YAML ends no value with a line of dots
        rows = [(k, yaml.safe_dump([v], **flow)[1:-2]) for k, v in self.resolved().items()]
        return pd.DataFrame(rows, columns=["parameter", "value"])

    def resolved(self) -> dict[str, Any]:
        """Return plain values for `params.yaml`, the study first.

        What is left at its default is left out, so that a new parameter changes no older run.
        """
        return {"study": self.study, **self.model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def from_files(cls, files: Sequence[Path], overrides: Iterable[str] = ()) -> Self:
        """Merge YAML files in order, then `name=value` overrides, and check the result."""
        values, origin = read_given(files, overrides)
        return cls.check(values, {"": " + ".join(map(relative, files)), **origin})

    @classmethod
    def from_command_line(cls, arguments: Sequence[str] | None = None) -> Self:
        """Read `-p name=value` options, after `-f file.yaml` (several, later ones win) if any."""
        parser = argparse.ArgumentParser(
            description=f"One run of the study {cls.study}.",
            epilog="For example: -p dataset=tiny -p system=... -p seed=0",
        )
        parser.add_argument("-f", dest="files", action="append", type=Path, metavar="FILE")
        parser.add_argument(
            "-p", dest="overrides", action="append", default=[], metavar="NAME=VALUE"
        )
        options = parser.parse_args(arguments)
        if options.files:
            return cls.from_files(options.files, options.overrides)
        return cls.from_names(read_overrides(options.overrides), "command line")


class ReportParameters(Schema):
    """What the notebook of a report takes."""

    dataset: Name


class Loader(yaml.SafeLoader):
    """YAML without surprises: a name stands once, and what looks like text is text.

    PyYAML's own loader takes the last of two values in silence, 010 for 8, 1:30 for 90, no for
    false, and some texts for dates.
    """

    plain = re.compile(
        r"|~|<<|null|true|false|[-+]?\.(inf|nan)|[-+]?(0|[1-9]\d*)?(\.\d*)?(e[-+]\d+)?", re.I
    )

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        """Return the tag of a node; a number or truth that is written oddly is text."""
        if kind is yaml.ScalarNode and not self.plain.fullmatch(value):
            implicit = (False, True)
        return super().resolve(kind, value, implicit)

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Return a mapping; raises ComposerError at a name that stands twice."""
        node, first = super().compose_mapping_node(anchor), {}
        for name, _ in node.value:
            if first.setdefault(str(name.value), name) is not name:
                problem = f"`{name.value}` stands twice; keep one of them"
                raise yaml.composer.ComposerError(None, None, problem, name.start_mark)
        return node


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping; raises StudyError when there is no such file or it is no mapping."""
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader) or {}
    except OSError as error:
        raise StudyError(f"{relative(file)}: cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}" if place else ""
        twice = isinstance(error, yaml.composer.ComposerError) and error.problem
        problem = twice or "not valid YAML; mend that line"
        raise StudyError(f"{relative(file)}{line}: {problem}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{relative(file)}: must hold `name: value` lines")
    return content


def read_given(
    files: Iterable[Path], overrides: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of YAML files, of which later ones win, then of `name=value` overrides.

    And for each where it came from.
    """
    values, origin = {}, {}
    for file in files:
        content = read_yaml(file)
        values.update(content)
        origin.update(dict.fromkeys(content, relative(file)))
    given = read_overrides(overrides)
    return values | given, origin | dict.fromkeys(given, "command line")


def read_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` texts, the values as YAML; raises StudyError for one that is not."""
    values = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        try:
            values[name] = yaml.load(value, Loader)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise StudyError(
                f"-p {override}: write name=value in YAML, each name once, such as -p seed=0"
            )
    return values


# Hidden files and folders, which editors and systems make, are no parameters.


def studies_on(dataset: str = "[!.]*") -> list[str]:
    """Return the studies that have parameters for a dataset, by default for any."""
    files = (paths.REPOSITORY / "params").glob(f"[!.]*/{dataset}/dataset.yaml")
    return sorted({file.parent.parent.name for file in files})


def run_files(study: str, dataset: str) -> dict[str, list[Path]]:
    """Return the runs that `params/<study>/<dataset>/` lists: system -> its files, later ones win.

    They are `dataset.yaml`, `<model>.yaml`, and for a variant `<model>@<variant>.yaml`, which
    holds only what differs from its model.
    Raises StudyError with the nearest name when there is no such dataset.
    """
    folder = paths.REPOSITORY / "params" / study
    known = sorted(file.parent.name for file in folder.glob("[!.]*/dataset.yaml"))
    if dataset not in known:
        raise StudyError(f"study {study} has no dataset `{dataset}`{suggestion(dataset, known)}")
    shared = folder / dataset / "dataset.yaml"
    listed = {}
    for file in sorted(set(shared.parent.glob("[!.]*.yaml")) - {shared}):
        model = file.with_name(f"{file.stem.partition('@')[0]}.yaml")
        listed[file.stem] = list(dict.fromkeys([shared, model, file]))
    return listed


def system_files(study: str, dataset: str, system: str) -> list[Path]:
    """Return the files of a system; those of its model where the variant is not listed.

    Raises StudyError with the nearest name when there is no such dataset or model.
    """
    listed = run_files(study, dataset)
    files = listed.get(system) or listed.get(system.partition("@")[0])
    if not files:
        raise StudyError(f"no system `{system}` on {dataset}{suggestion(system, listed)}")
    return files


def choice(
    study: str, values: Mapping[str, Any], place: str
) -> tuple[str, str, Any, dict[str, Any]]:
    """Return dataset, system, seed and changes as a notebook takes them, from values by any name.

    Changes of a listed system make a variant of their own, such as `flexible@epochs_2`, so that no
    run folder ever holds other settings than its name says.
    """
    others = {"changes": {}, **values}
    if "model" in others:
        names = others.pop("model"), others.pop("variant", "")
        others["system"] = "@".join(map(str, filter(None, names)))
    try:
        dataset, system, seed, changes = map(others.pop, ("dataset", "system", "seed", "changes"))
    except KeyError as error:
        raise StudyError(f"{place}: parameter `{error.args[0]}` is missing; add it") from None
    if not isinstance(changes, dict):
        raise StudyError(f"{place}: parameter `changes` should be {{name: value}}, not {changes!r}")
    dataset, system = str(dataset), str(system)  # papermill makes numbers of names
    known, _ = read_given(system_files(study, dataset, system))
    others.update(changes)
    changed = {k: v for k, v in others.items() if k not in known or known[k] != v}
    if changed and system in run_files(study, dataset):
        model, _, variant = system.partition("@")
        words = "_".join([variant, *(f"{name}_{value}" for name, value in changed.items())])
        words = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
        if len(words) > 48:
            words = f"changed_{zlib.crc32(words.encode()):08x}"
        system = f"{model}@{words}"
    return dataset, system, seed, changed


def schema(study: str) -> type[RunParameters]:
    """Return the parameters of a study."""
    return importlib.import_module(f"studies.{study}.params").Parameters


def load_parameters(study: str, dataset: str, system: str, seed: int = 0) -> RunParameters:
    """Return the parameters of a listed run; raises StudyError for the first wrong one."""
    return schema(study).from_files(system_files(study, dataset, system), [f"seed={seed}"])


def requested(
    dataset: str, studies: Iterable[str], models: Collection[str], seeds: Sequence[int]
) -> list[Path]:
    """Return the files that complete the runs asked for; no `models` are all.

    They are `model.safetensors`, where the system is trained, and `metrics.json`. Where chance has
    no part, as in a baseline, the first seed says all.
    """
    files = []
    for study in studies:
        for system in run_files(study, dataset):
            if not models or system in models:
                parameters = load_parameters(study, dataset, system)
                for seed in seeds if parameters.by_chance else seeds[:1]:
                    folder = parameters.model_copy(update={"seed": seed}).folder()
                    files += [folder / "model.safetensors"] if parameters.trained else []
                    files.append(folder / "metrics.json")
    return files


# What is wrong with a parameter, said in one sentence.


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` or, when nothing is near, the list of valid names."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else f"; there are: {', '.join(known)}"


UNTAGGED = ("union_tag_invalid", "union_tag_not_found")  # of blocks that are told by their `name`
SAID = {
    "string_pattern_mismatch": "should hold lower-case letters, digits and _ only (a name begins "
    "with a letter, and is not `no`, `null` or what else YAML and papermill take for no text)",
    "bool_type": "should be true or false",
    "model_type": "should hold `name: value` lines",
    "model_attributes_type": "should hold `name: value` lines",
}
SURPLUS = r"^Value error, |^\w+ (?=should)| after validation, not \d+$"
NUMBER = r"[-+]?\d*\.?\d+([eE][-+]?\d+)?"


def explain(values: dict[str, Any], origin: Mapping[str, str], error: ValidationError) -> str:
    """Return one sentence for the first of pydantic's complaints, unknown names first."""
    first = error.errors()[0]
    kind, context = first["type"], first.get("ctx", {})
    last = {"unknown": context.get("name"), **dict.fromkeys(UNTAGGED, "name")}.get(kind)
    location = (*first["loc"], last) if last else first["loc"]
    name = spell(location, values)
    place = origin.get(location[0] if location else "", origin.get("", "parameters"))
    if kind == "unknown":
        return f"{place}: unknown parameter `{name}`{context['nearest']}"
    if kind in ("missing", "union_tag_not_found"):
        return f"{place}: parameter `{name}` is missing; add it"
    if kind == "union_tag_invalid":
        nearest = suggestion(context["tag"], re.findall(r"'(\w+)'", context["expected_tags"]))
        return f"{place}: parameter `{name}` cannot be `{context['tag']}`{nearest}"
    problem = SAID.get(kind, re.sub(SURPLUS, "", first["msg"]))
    given = "" if isinstance(first["input"], dict) else f", not {first['input']!r}"
    if kind == "float_type" and re.fullmatch(NUMBER, str(first["input"])):
        number = yaml.safe_dump(float(first["input"])).split()[0]
        given += f": YAML takes that for text; write {number}"
    if kind == "string_type" and isinstance(first["input"], int | float):
        last = name.rpartition(".")[2]
        given += f': put it in quotes, `{last}: "{json.dumps(first["input"])}"`'
    return f"{place}: parameter `{name}` {problem}{given}" if name else f"{place}: {problem}"


def spell(location: Sequence[int | str], values: Any) -> str:
    """Write a location as `loss.margins[0]`, without the tags pydantic adds for unions."""
    written, told = "", None
    for part in location:
        named = values.get("name") if isinstance(values, dict) else None
        if part == named and told is not values:
            told = values  # by its name; what comes next may be called so too
            continue
        written += f"[{part}]" if isinstance(part, int) else f".{part}"
        inside = isinstance(part, int) or (isinstance(values, dict) and part in values)
        values = values[part] if inside else None
    return written.removeprefix(".")


def assigned(source: str) -> dict[str, ast.expr]:
    """Return what a cell assigns at its top level, name -> expression, in order."""
    return {
        node.targets[0].id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def notebook_defaults(notebook: Path) -> dict[str, Any]:
    """Return the literals of the cell tagged `parameters`, read without running anything."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        (cell,) = (c for c in cells if "parameters" in c["metadata"].get("tags", []))
    except (OSError, ValueError, KeyError, TypeError):
        wanted = "is no notebook with one cell tagged `parameters`"
        raise StudyError(f"{relative(notebook)}: {wanted}") from None
    return {name: ast.literal_eval(v) for name, v in assigned("".join(cell["source"])).items()}
