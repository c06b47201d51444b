"""`make study`: choose runs, check their parameters, and let Snakemake make what is missing.

`python -m studies DATASET=demo STUDY=triplets MODEL=flexible SEEDS=0,1 JOBS=2`, all optional.
"""

import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from studies import paths
from studies.paths import StudyError, one_sentence, printed, relative
from studies.runs import warm
from studies.runs.files import duration, locked
from studies.runs.folder import refuse_damaged
from studies.runs.notebooks import ERROR
from studies.runs.params import load_parameters, requested, run_files, studies_on, suggestion

DEFAULTS = {"DATASET": "demo", "STUDY": "", "MODEL": "", "SEEDS": "0", "JOBS": "2"}
ENVIRONMENT = ("STUDIES_DATA", "STUDIES_ROOT")


def choose(arguments: Sequence[str]) -> dict[str, str]:
    """Return the options, each checked against what `params/` lists.

    Raises StudyError for an unknown option, study, dataset or model, or a seed that is none.
    """
    options = dict(DEFAULTS)
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in ENVIRONMENT:
            os.environ[name] = value
            continue
        if name not in DEFAULTS:
            raise StudyError(f"unknown option `{name}`{suggestion(name, DEFAULTS)}")
        options[name] = value or DEFAULTS[name]
    known = studies_on()
    studies = options["STUDY"].split(",") if options["STUDY"] else known
    for study in studies:
        if study not in known:
            raise StudyError(f"no study `{study}`{suggestion(study, known)}")
    if not options["STUDY"]:
        studies = studies_on(options["DATASET"]) or known
    systems = check_runs(studies, options)
    if not options["STUDY"] and options["MODEL"]:
        studies = [s for s in studies if set(options["MODEL"].split(",")) & set(systems[s])]
    if not options["JOBS"].isdecimal() or int(options["JOBS"]) < 1:
        raise StudyError(f"JOBS={options['JOBS']}: give the number of processor cores to use")
    return {**options, "STUDY": ",".join(studies)}


def check_runs(studies: Sequence[str], options: dict[str, str]) -> dict[str, dict[str, list[Path]]]:
    """Return the systems of each study and their files, each checked.

    Raises StudyError for the first wrong one.
    """
    models = options["MODEL"].split(",") if options["MODEL"] else None
    for seed in options["SEEDS"].split(","):
        if not (seed.isdecimal() and str(int(seed)) == seed):
            raise StudyError(f"SEEDS={options['SEEDS']}: give whole numbers, such as SEEDS=0,1,2")
    listed = {study: run_files(study, options["DATASET"]) for study in studies}
    every = sorted({system for systems in listed.values() for system in systems})
    for model in models or []:
        if model not in every:
            nearest = suggestion(model, every)
            raise StudyError(f"no model `{model}` on {options['DATASET']}{nearest}")
    for study, systems in listed.items():
        for system, files in systems.items():
            parameters = load_parameters(study, options["DATASET"], system)
            if (parameters.dataset, parameters.system) != (options["DATASET"], system):
                raise StudyError(
                    f"{relative(files[1])}: says dataset {parameters.dataset} and system "
                    f"{parameters.system}; they must be the names of its folder and file"
                )
            parameters.require_data()
    return listed


class Progress(logging.Handler):
    """How far the runs and reports asked for are, told whenever Snakemake logs the end of a job.

    `files` complete them: `metrics.json` of a run, `<study>.html` of a report.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        self.files = files
        self.before = {file: file.stat().st_mtime_ns for file in files if file.exists()}
        for said in itertools.chain.from_iterable(map(errors, files)):
            said.unlink()
        self.told = self.ended()
        self.ends = deque([time.monotonic()], maxlen=9)  # the last ones say how long others take

    def ended(self) -> int:
        """Return how many are there or have failed."""
        return sum(file.exists() or bool(errors(file)) for file in self.files)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line when a run or report has ended."""
        if "event" in record.__dict__ and (ended := self.ended()) != self.told:
            self.told = ended
            self.ends.append(time.monotonic())
            pace = (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
            left = duration(pace * (len(self.files) - ended))
            print(f"{ended} of {len(self.files)} runs and reports, about {left} left", flush=True)

    def outcome(self, file: Path) -> str:
        """Return in words what became of a run or report."""
        if said := errors(file):
            return f"failed: {' '.join(said[0].read_text().split())}"
        if file.exists():
            now = file.stat().st_mtime_ns
            return "made before" if now == self.before.get(file) else "made now"
        dataset, study, system, seed = file.parts[-5:-1]
        after = load_parameters(study, dataset, system).after if file.suffix == ".json" else []
        for awaited in [file.parents[2] / name / seed / file.name for name in after]:
            if errors(awaited) or not awaited.exists():
                return f"not made, as it builds on {awaited.parts[-3]} ({self.outcome(awaited)})"
        return "not made"


def errors(file: Path) -> list[Path]:
    """Return where the notebooks of a run or report say why they failed."""
    run = file.suffix == ".json"
    folder = file.parent if run else paths.runs() / file.parent.name / file.stem
    return list(folder.glob(f"*{ERROR}"))


def report_on_the_rest(dataset: str, runs: Sequence[Path]) -> None:
    """Make the reports of studies in which a run failed, which Snakemake does not, and an index."""
    command = [*warm.COMMAND, "-m", "studies.reporting.publish", dataset]
    short = {run.parts[-4] for run in runs if errors(run)}
    studies = short & {run.parts[-4] for run in runs if run.exists()}
    for what in (*sorted(studies), *["--index"][: len(studies)]):
        subprocess.run([*command, what], check=False)


def make(options: dict[str, str], progress: logging.Handler) -> None:
    """Let Snakemake make what is missing and can be made; `progress` sees what it logs.

    Raises StudyError with Snakemake's own words when it is Snakemake that cannot go on.
    """
    # imported late: wrong options are told first
    from snakemake import api
    from snakemake.logging import logger
    from snakemake.scheduling.greedy import SchedulerSettings
    from snakemake.settings import types
    from snakemake.settings.enums import Quietness, RerunTrigger

    config = {name.lower(): options[name] for name in DEFAULTS if name != "JOBS"}
    stopped = []

    def stop(*_: object) -> None:
        stopped.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        with api.SnakemakeApi(types.OutputSettings(quiet={Quietness.ALL})) as snakemake:
            logger.addHandler(progress)
            workflow = snakemake.workflow(
                types.ResourceSettings(cores=int(options["JOBS"])),
                types.ConfigSettings(config=config),
                snakefile=paths.REPOSITORY / "Snakefile",
                workdir=paths.root(),
            )
            plan = types.DAGSettings(rerun_triggers={RerunTrigger.MTIME}, force_incomplete=True)
            dag = workflow.dag(plan)
            dag.execute_workflow(
                execution_settings=types.ExecutionSettings(lock=False, keep_going=True),
                scheduling_settings=types.SchedulingSettings(scheduler="greedy"),  # by priority
                scheduler_settings=SchedulerSettings(),
            )
    except Exception as error:  # Snakemake raises of every kind
        if stopped:
            raise KeyboardInterrupt from None
        reason = " ".join(str(error).split())
        if "At least one job did not complete" in reason:
            return  # which the table tells
        if isinstance(error, OSError):
            where = error.filename or os.environ.get("TMPDIR", "/tmp")
            reason += f"; free the disk of {where} or make it writable, and give the command again"
        raise StudyError(f"Snakemake stopped: {type(error).__name__}: {reason}") from error


def main() -> None:
    """Run the command line."""
    with one_sentence():
        options = choose(sys.argv[1:])
        dataset, seeds = options["DATASET"], list(map(int, options["SEEDS"].split(",")))
        models = list(filter(None, options["MODEL"].split(",")))
        studies = options["STUDY"].split(",")
        asked = requested(dataset, studies, models, seeds)
        runs = [file for file in asked if file.name == "metrics.json"]
        pages = [paths.reports() / dataset / f"{study}.html" for study in studies]
        index = paths.reports() / dataset / "index.html"
        if {"{", "}"} & set(f"{paths.root()}{paths.REPOSITORY}"):
            raise StudyError(
                f"{paths.root()}: Snakemake takes braces for its own; rename the folder"
            )
        # Snakemake works there
        os.environ.update(STUDIES_ROOT=str(paths.root()), STUDIES_HERE=str(Path.cwd()))
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ.setdefault("TQDM_MININTERVAL", "20")  # a log has a line of a bar now and then
        with locked(paths.runs() / dataset), warm.server():
            for folder in sorted({file.parent for file in asked}):
                refuse_damaged(folder)
            progress = Progress([*runs, *pages])
            make(options, progress)
            report_on_the_rest(dataset, runs)
        names = [*(" ".join(run.parts[-4:-1]) for run in runs), *(f"{s} report" for s in studies)]
        outcomes = list(map(progress.outcome, progress.files))
        for name, outcome in zip(names, outcomes, strict=True):
            print(f"{name:<{max(map(len, names))}}  {outcome}")
        if index.exists():
            print(f"report: {printed(index)}", flush=True)
        if missing := sum(not outcome.startswith("made") for outcome in outcomes):
            raise StudyError(
                f"{missing} of {len(names)} runs and reports could not be made, as the table says; "
                "the same command tries again"
            )


if __name__ == "__main__":
    main()
