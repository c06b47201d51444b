"""`make study`: choose runs, check their parameters, and let Snakemake make what is missing.

`python -m studies DATASET=demo STUDY=triplets MODEL=flexible SEEDS=0,1 JOBS=2`, all optional.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from studies import paths
from studies.command import one_sentence
from studies.complaints import suggestion
from studies.errors import StudyError
from studies.params import run_files, studies_on
from studies.paths import relative
from studies.runs import locked

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
    known = sorted(folder.name for folder in (paths.REPOSITORY / "params").iterdir())
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
        schema = importlib.import_module(f"studies.{study}.params").Parameters
        for system, files in systems.items():
            parameters = schema.from_files(files, ["seed=0"])
            if (parameters.dataset, parameters.system) != (options["DATASET"], system):
                raise StudyError(
                    f"{relative(files[1])}: says dataset {parameters.dataset} and system "
                    f"{parameters.system}; they must be the names of its folder and file"
                )
            parameters.require_data()
    return listed


def main() -> None:
    """Run the command line."""
    with one_sentence():
        options = choose(sys.argv[1:])
        command = [sys.executable, "-m", "snakemake", "--snakefile", paths.REPOSITORY / "Snakefile"]
        command += ["--directory", paths.REPOSITORY, "--cores", options["JOBS"], "--nolock"]
        command += ["--rerun-incomplete", "--rerun-triggers", "mtime", "--quiet", "all"]
        command += ["--config", *(f"{k.lower()}={options[k]}" for k in DEFAULTS if k != "JOBS")]
        with locked(paths.runs() / options["DATASET"]):
            code = subprocess.run(
                command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, check=False
            ).returncode
    if code:
        sys.exit("error: not finished (see above); the same command goes on from here")
    print(f"report: {relative(paths.reports() / options['DATASET'] / 'index.html')}")


if __name__ == "__main__":
    main()
