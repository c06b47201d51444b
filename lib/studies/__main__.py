"""`make study`: choose runs, check their parameters, and let Snakemake make what is missing.

`python -m studies DATASET=demo STUDY=triplets MODEL=flexible SEEDS=0,1 JOBS=2`, all optional.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from studies import paths
from studies.paths import StudyError, one_sentence, relative
from studies.runs import warm
from studies.runs.files import locked
from studies.runs.folder import refuse_damaged
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
            raise StudyError(
                f"no model `{model}` on {options['DATASET']}{suggestion(model, every)}"
            )
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


def make(options: dict[str, str], first: Sequence[Path]) -> None:
    """Let Snakemake make what is missing, and what the files `first` need before all else.

    Raises StudyError when a job fails, which has then said why, and with Snakemake's own words when
    it is Snakemake that cannot go on.
    """
    # imported late: wrong options are told first
    from snakemake import api
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
            workflow = snakemake.workflow(
                types.ResourceSettings(cores=int(options["JOBS"])),
                types.ConfigSettings(config=config),
                snakefile=paths.REPOSITORY / "Snakefile",
                workdir=paths.root(),
            )
            dag = workflow.dag(
                types.DAGSettings(rerun_triggers={RerunTrigger.MTIME}, force_incomplete=True)
            )
            dag.execute_workflow(
                execution_settings=types.ExecutionSettings(lock=False),
                scheduling_settings=types.SchedulingSettings(frozenset(map(str, first))),
            )
    except Exception as error:  # Snakemake raises of every kind
        if stopped:
            raise KeyboardInterrupt from None
        reason = " ".join(str(error).split())
        if "At least one job did not complete" in reason:
            raise StudyError(
                "not finished (see above); the same command goes on from here"
            ) from None
        if isinstance(error, OSError):
            where = error.filename or os.environ.get("TMPDIR", "/tmp")
            reason += f"; free the disk of {where} or make it writable, and give the command again"
        raise StudyError(f"Snakemake stopped: {type(error).__name__}: {reason}") from error


def builds_on_others(file: Path) -> bool:
    """Return whether a file of a run completes one that builds on others."""
    dataset, study, system = file.parts[-5:-2]
    return bool(load_parameters(study, dataset, system).after)


def main() -> None:
    """Run the command line."""
    with one_sentence():
        options = choose(sys.argv[1:])
        dataset, seeds = options["DATASET"], list(map(int, options["SEEDS"].split(",")))
        models = list(filter(None, options["MODEL"].split(",")))
        asked = requested(dataset, options["STUDY"].split(","), models, seeds)
        if {"{", "}"} & set(f"{paths.root()}{paths.REPOSITORY}"):
            raise StudyError(
                f"{paths.root()}: Snakemake takes braces for its own; rename the folder"
            )
        os.environ["STUDIES_ROOT"] = str(paths.root())  # Snakemake works there
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ.setdefault("TQDM_MININTERVAL", "20")  # a log has a line of a bar now and then
        with locked(paths.runs() / dataset), warm.server():
            for folder in sorted({file.parent for file in asked}):
                refuse_damaged(folder)
            # runs that build on others begin first, as they take longest to come to an end
            make(options, [file for file in asked if builds_on_others(file)])
        if missing := [file for file in asked if not file.exists()]:
            raise StudyError(f"{len(missing)} files are missing, such as {relative(missing[0])}")
    print(f"report: {relative(paths.reports() / options['DATASET'] / 'index.html')}")


if __name__ == "__main__":
    main()
