"""The evaluated runs of a dataset, side by side."""

import importlib
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies import paths
from studies.paths import StudyError, relative
from studies.reporting import bootstrap, claims, plots, publish, tables
from studies.reporting.bootstrap import Measured, Metric
from studies.runs.files import duration, to_json, write_atomic
from studies.runs.folder import LoadedRun, changed_names, finished, intact
from studies.runs.params import load_parameters, requested, run_files, studies_on


def read_runs(
    dataset: str, study: str, items: str, kind: Callable[[LoadedRun], object] = lambda run: None
) -> list[LoadedRun]:
    """Return the evaluated runs of a study on a dataset.

    Those of drawn worlds lie below `runs/`. Those on real data are first kept as evidence, and then
    read from there, so that who has the evidence alone gets the same report; one that does not say
    what `params/` says today is read where it was made, and is no evidence.
    Raises StudyError when there is none, or when runs of one kind were tested on different `items`.
    """
    folder, proof = paths.runs() / dataset / study, paths.evidence(dataset) / study
    runs = finished(folder)
    if dataset not in claims.SYNTHETIC:
        standing = [run for run in runs if not outdated(run)]
        for run in standing:
            keep(run, proof / run.system / run.folder.name)
        kept = [run for run in finished(proof) if not outdated(run)]
        names = {(run.system, run.folder.name) for run in kept}
        runs = kept + [run for run in runs if (run.system, run.folder.name) not in names]
    if not runs:
        raise StudyError(
            f"{folder}: no evaluated run; run `make study DATASET={dataset} STUDY={study}` first"
        )
    first: dict[object, LoadedRun] = {}
    for run in runs:
        alike = first.setdefault(kind(run), run)
        if not run.predictions["id"].equals(alike.predictions["id"]):
            raise StudyError(
                f"{folder}: runs were tested on different {items}; delete those of older parameters"
            )
    return runs


def keep(run: LoadedRun, folder: Path) -> None:
    """Copy a run into a folder: everything but weights, checkpoints and notebooks."""
    for file in run.folder.iterdir():
        if file.is_file() and file.suffix not in {".safetensors", ".ipynb"} and file.stem[0] != ".":
            content = intact(file).read_bytes()
            if not (folder / file.name).exists() or (folder / file.name).read_bytes() != content:
                write_atomic(folder / file.name, content)


def outdated(run: LoadedRun) -> str:
    """Return in which parameters a run is not what `params/` says today; "" where it is."""
    given = run.params
    try:
        today = load_parameters(given["study"], given["dataset"], run.system, given["seed"])
    except StudyError as error:
        return str(error)
    return ", ".join(changed_names(today.resolved(), given))


@dataclass(frozen=True)
class Results(ABC):
    """The evaluated runs of a study on a dataset: `systems` maps `model[@variant]` to its runs.

    A study's own class says what its metrics are. Systems stand in the order of its tables, the
    runs of a system in that of their seeds.
    """

    study: ClassVar[str]
    title: ClassVar[str]
    tested: ClassVar[str] = "images"  # what the parts of the dataset hold, as provenance calls it
    paper: ClassVar[dict[str, Any]]  # its claims.yaml
    names: ClassVar[dict[str, str]]  # metric id -> heading, in the order of the columns
    counts: ClassVar[Collection[str]] = ()  # ids of metrics that are counts
    ledger: ClassVar[dict[str, str]]  # metric id -> heading in the ledger
    axes: ClassVar[dict[str, str]]  # metric id -> axis label with its unit

    dataset: str
    systems: dict[str, list[LoadedRun]]

    @abstractmethod
    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the metrics of a run by id, each a function of weights of its test items."""

    def clusters(self, run: LoadedRun) -> np.ndarray:
        """Return (N,) which test items of a run are drawn together."""
        return run.predictions["cluster"].to_numpy()

    @property
    def folder(self) -> Path:
        """Return the folder of what belongs to no single run."""
        if self.dataset in claims.SYNTHETIC:
            return paths.runs() / self.dataset / self.study
        return paths.evidence(self.dataset) / self.study / "study"

    @property
    def runs(self) -> list[LoadedRun]:
        """Return every run."""
        return [run for runs in self.systems.values() for run in runs]

    def of(self, names: Iterable[str]) -> Self:
        """Return the results of some systems."""
        return replace(self, systems={name: self.systems[name] for name in names})

    @property
    def trained(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that are trained."""
        return {name: runs for name, runs in self.systems.items() if runs[0].trained}

    def plain(self) -> Self:
        """Return the systems that are no variant of another, or all when there is none."""
        return self.of([name for name in self.systems if "@" not in name] or self.systems)

    @cached_property
    def measured(self) -> dict[str, dict[str, Measured]]:
        """Return for each system its metrics, on the test items and on resampled ones."""
        return {
            system: bootstrap.measure(
                {run.params["seed"]: self.metrics(run) for run in runs},
                self.clusters(runs[0]),
                fixed=not runs[0].trained,
            )
            for system, runs in self.systems.items()
        }

    def tidy(self) -> pd.DataFrame:
        """Return the tidy frame, with what was published of this dataset beside it."""
        published = self.paper.get("published", {}).get(self.dataset, {})
        return bootstrap.summary(self.study, self.dataset, self.measured, published)

    def tests(self) -> pd.DataFrame:
        """Return the differences of `pairs`, second minus first, rounded as they are written."""
        pairs = ({name: self.measured[name] for name in pair} for pair in self.pairs())
        return bootstrap.paired_tests(*pairs).round(4)

    def origin(self) -> tables.Shown:
        """Show the command that makes the report again, and what its runs were made with."""
        facts, proof = run_facts(self.runs, self.tested), paths.evidence(self.dataset) / self.study
        if self.dataset not in claims.SYNTHETIC:
            kept = [run for run in self.runs if proof in run.folder.parents]
            rows = "every row" if len(kept) == len(self.runs) else ", ".join(map(name_of, kept))
            facts["from committed evidence"] = rows or "no row"
            stale = {name_of(run): why for run in finished(proof) if (why := outdated(run))}
            if stale:
                words = ", ".join(f"{name} ({why})" for name, why in stale.items())
                facts["left out, as params/ says otherwise"] = words
        if absent := self.absent():
            facts["missing, though params/ lists them"] = "; ".join(absent)
        return publish.origin(report_command(self.study, self.systems), facts)

    def absent(self) -> list[str]:
        """Return the runs of these seeds that `params/` lists and that are not there."""
        if self.study not in studies_on(self.dataset):
            return []
        seeds = sorted({run.params["seed"] for run in self.runs})
        there, lacking = {(run.system, str(run.params["seed"])) for run in self.runs}, {}
        for file in requested(self.dataset, [self.study], [], seeds):
            system, seed = file.parts[-3], file.parts[-2][4:]
            if file.name == "metrics.json" and (system, seed) not in there:
                lacking.setdefault(system, []).append(seed)
        return [f"{system} seed {', '.join(numbers)}" for system, numbers in lacking.items()]

    def headline(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the tidy frame that the index shows: those without variant."""
        return tables.plain(frame)

    def further(self) -> dict[str, str]:
        """Return what else a study writes beside its tables: file name -> text."""
        return {}

    def forests(self, outcomes: Iterable[claims.Outcome]) -> list[Figure]:
        """Draw each claim that was tested, the differences that it rests on."""
        labels = {**self.ledger, **self.axes}
        return [drawn for one in outcomes if (drawn := claims.forest(one, labels)) is not None]

    def write(
        self,
        frame: pd.DataFrame,
        tests: pd.DataFrame,
        outcomes: Sequence[claims.Outcome],
        lead: str,
        note: str,
    ) -> str:
        """Write tables, ledger, figures of claims and the entry of the index; return their folder.

        `lead` is the result in a sentence or two, `note` what a reader of the table must know.
        """
        study, caption = self.study, f"{self.title} Dataset {self.dataset}."
        names, rows = tables.present(frame, self.names), self.headline(frame)
        table = tables.wide(frame, names, self.counts)
        note = f"{note} {tables.legend(frame[frame['metric'].isin(names)])}".strip()
        blocks = [f"**{tables.markdown_text(caption)}**", tables.to_markdown(table).strip()]
        blocks.append(tables.markdown_paragraph(note))
        if len(tests):
            shown = tables.to_markdown(tables.wide_tests(tests, names, self.counts))
            blocks += ["Paired tests between systems:", shown.strip()]
        ledger = claims.frame(outcomes, self.dataset)
        top = tables.wide(rows, tables.present(rows, self.names), self.counts)
        # what the index says of the report
        entry = {"title": self.title, "lead": lead, "note": tables.legend(rows)}
        entry["table"] = top.to_dict("split", index=False)
        files = {
            f"{study}.csv": frame.to_csv(index=False, lineterminator="\n"),
            f"{study}_tests.csv": tests.to_csv(index=False, lineterminator="\n"),
            f"{study}.md": "\n\n".join(blocks) + "\n",
            f"{study}.tex": tables.to_latex(table, caption, f"tab:{study}-{self.dataset}", note),
            f"claims/{study}.csv": ledger.to_csv(index=False, float_format="%.6g"),
            f"claims/{study}.md": claims.markdown(outcomes, self.dataset, self.ledger),
            f"{study}.json": to_json(entry),
            **self.further(),
        }
        for figure in self.forests(outcomes):
            drawn, name = io.BytesIO(), figure.get_label().replace(", ", "_").replace(" ", "_")
            figure.savefig(drawn, format="pdf", metadata={"CreationDate": None})
            files[f"claims/{study}_{name}.pdf"] = drawn.getvalue()
        folder = paths.reports() / self.dataset
        for old in folder.glob(f"claims/{study}_*.pdf"):  # a second condition renames a figure
            old.unlink()
        for name, text in files.items():
            write_atomic(folder / name, text)
        return relative(folder)

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared: models under the same variant, a variant with none."""
        compared = []
        for first, second in combinations(self.systems, 2):
            (model, _, variant), (other, _, others) = first.partition("@"), second.partition("@")
            if variant == others or (model == other and not variant):
                compared.append((first, second))
        return compared


def make_tiny_runs(study: str) -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    evaluate = importlib.import_module(f"studies.{study}.evaluate").evaluate
    for system in run_files(study, "tiny"):
        try:
            evaluate(load_parameters(study, "tiny", system))
        except StudyError as error:
            print(f"{system}: {error}")


def by_system(
    runs: Sequence[LoadedRun], place: Callable[[str], tuple[object, ...]]
) -> dict[str, list[LoadedRun]]:
    """Return the runs of each system, `model[@variant]`, the systems in the order of `place`."""
    names = sorted({run.system for run in runs}, key=place)
    return {name: [run for run in runs if run.system == name] for name in names}


def seeds_of(runs: Iterable[LoadedRun], between: str = ",") -> str:
    """Return the seeds of some runs, the smallest first, each once."""
    return between.join(map(str, sorted({run.params["seed"] for run in runs})))


def name_of(run: LoadedRun) -> str:
    """Return how a run is called in a sentence."""
    return f"{run.system} seed {run.params['seed']}"


def logged(systems: Mapping[str, Sequence[LoadedRun]], log: str = "curves.csv") -> pd.DataFrame:
    """Return a log of all runs of some systems, one at least, with their system and seed.

    At most 200 rows a run, evenly spaced.
    """
    frames = []
    for system, runs in systems.items():
        for run in runs:
            frame = run.read(log, pd.read_csv)
            kept = frame.iloc[:: max(1, math.ceil(len(frame) / 200))]
            frames.append(kept.assign(system=system, seed=run.params["seed"]))
    return pd.concat(frames)


def curves(
    systems: Mapping[str, Sequence[LoadedRun]],
    x: str,
    ys: Mapping[str, str],
    log: str = "curves.csv",
) -> Figure | None:
    """Draw what a log of some systems has of `ys` against `x`, see `plots.curves`; None of none."""
    if not systems:
        return None
    frame = logged(systems, log)
    drawn = {name: label for name, label in ys.items() if name in frame}
    return plots.curves(frame, x, drawn, log=["gradient_norm"])


def score_table(run: LoadedRun, names: Mapping[str, str]) -> pd.DataFrame:
    """Return a run's scores on the test set, one row a metric; `names` maps ids to headings."""
    scores = {name: run.metrics[metric] for metric, name in names.items() if metric in run.metrics}
    shown = [f"{v:.3f}" if isinstance(v, float) else f"{v:,}" for v in scores.values()]
    return pd.DataFrame({"metric": scores.keys(), run.system: shown})


def count_systems(systems: Mapping[str, object]) -> str:
    """Return how many systems there are, in words."""
    return "1 system" if len(systems) == 1 else f"{len(systems)} systems"


# Where a report comes from: the command that makes it again, and what its runs were made with.


def report_command(study: str, systems: Mapping[str, Sequence[LoadedRun]]) -> str:
    """Return what to type to make a report again: a line for every set of seeds.

    Of real data the last line makes it from the evidence alone.
    """
    groups: dict[str, list[str]] = {}
    for system, runs in systems.items():
        groups.setdefault(seeds_of(runs), []).append(system)
    dataset = next(iter(systems.values()))[0].params["dataset"]
    chosen = f"DATASET={dataset} STUDY={study}"
    lines = [
        f"make study {chosen} SEEDS={seeds}"
        + (f" MODEL={','.join(names)}" if len(groups) > 1 else "")
        for seeds, names in groups.items()
    ]
    again = [] if dataset in claims.SYNTHETIC else [f"make report {chosen}"]
    return "\n".join([*lines, *again])


def run_facts(runs: Sequence[LoadedRun], items: str = "images") -> dict[str, str]:
    """Return what the runs were made with, differences between runs side by side.

    `items` are what the parts of the dataset hold, as the provenance calls them.
    """
    provenances = [run.provenance for run in runs]
    git = [provenance["git"] for provenance in provenances]
    packages = [provenance["packages"] for provenance in provenances]

    def all_of(key: str, facts: list[dict[str, Any]] = provenances) -> str:
        # a baseline was not trained on any device
        return ", ".join(dict.fromkeys(str(fact[key]) for fact in facts if key in fact))

    dirty = ", with uncommitted changes" if any(fact["dirty"] for fact in git) else ""
    software = [f"{name} {all_of(name, packages)}" for name in packages[0]]
    return {
        "dataset": f"{runs[0].params['dataset']}, fingerprint {all_of('dataset_fingerprint')}",
        items: ", ".join(f"{n:,} {part}" for part, n in provenances[0][items].items()),
        "seeds": seeds_of(runs, ", "),
        "commit": all_of("commit", git) + dirty,
        "software": ", ".join([f"Python {all_of('python')}", *software]),
        "device": all_of("device"),
        "threads": all_of("threads"),
        "platform": all_of("platform"),
    }


def cost_table(
    systems: Mapping[str, Sequence[LoadedRun]], heading: str, extra: Callable[[dict[str, Any]], str]
) -> pd.DataFrame:
    """Return what each system cost: parameters, time, memory, chosen epoch; means over seeds.

    Under `heading` stands `extra` of the provenance of a first seed.
    """
    rows = []
    for system, runs in systems.items():
        provenances = [run.provenance for run in runs]
        first = provenances[0]
        rows.append(
            {
                "system": system,
                "trained parameters": f"{first['parameters_trained']:,}",
                "training time": duration(np.mean([one["seconds"] for one in provenances])),
                "peak memory (MiB)": f"{max(one['peak_memory_mib'] for one in provenances):,}",
                "device": first["device"],
                heading: extra(first),
                "epoch kept": ", ".join(str(one["best_epoch"]) for one in provenances),
                "seeds": ", ".join(str(run.params["seed"]) for run in runs),
            }
        )
    return pd.DataFrame(rows)
