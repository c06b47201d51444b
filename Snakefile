# What depends on what: params + notebook -> trained -> evaluated -> report -> index.
# The files below params/<study>/<dataset>/ are the list of runs; nothing else names a model.
#
#   snakemake --cores 2 --config dataset=demo study=triplets model=flexible seeds=0,1
#
# Only files that mark completion are outputs: Snakemake deletes the outputs of a failed job, and
# a checkpoint must survive one.

import importlib
import shlex
import sys
from pathlib import Path

from studies import paths
from studies.params import read_yaml, run_files, studies_on

PYTHON = sys.executable
RUNS, REPORTS = paths.runs(), paths.reports()
DATASET = str(config.get("dataset") or "demo")
SEEDS = str(config.get("seeds", 0)).split(",")
MODELS = str(config.get("model") or "").split(",")
STUDIES = str(config.get("study") or ",".join(studies_on(DATASET))).split(",")
PAGES = expand(REPORTS / DATASET / "{study}.html", study=STUDIES)


def systems(study):
    return [name for name in run_files(study, DATASET) if MODELS == [""] or name in MODELS]


def trained(study, dataset, system):
    schema = importlib.import_module(f"studies.{study}.params").Parameters
    return schema.from_files(run_files(study, dataset)[system], ["seed=0"]).trained


def evaluated(wildcards):
    # chance has no part in a baseline: one seed says all
    return [
        RUNS / DATASET / wildcards.study / system / f"seed{seed}" / "metrics.json"
        for system in systems(wildcards.study)
        for seed in (SEEDS if trained(wildcards.study, DATASET, system) else SEEDS[:1])
    ]


def files(wildcards):
    return run_files(wildcards.study, wildcards.dataset)[wildcards.system]


def weights(wildcards):
    if not trained(wildcards.study, wildcards.dataset, wildcards.system):
        return []
    run = RUNS / wildcards.dataset / wildcards.study / wildcards.system / f"seed{wildcards.seed}"
    return run / "model.safetensors"


def built_on(wildcards):
    schema = importlib.import_module(f"studies.{wildcards.study}.params").Parameters
    after = schema.from_files(files(wildcards), ["seed=0"]).after
    runs = RUNS / wildcards.dataset / wildcards.study
    return [runs / system / f"seed{wildcards.seed}" / "metrics.json" for system in after]


def cores(wildcards):
    return read_yaml(f"params/{wildcards.study}/{wildcards.dataset}/dataset.yaml")["threads"]


wildcard_constraints:
    study="[a-z]+",
    seed=r"\d+",


# Named beside the index: of a missing report that only the index wants, Snakemake thinks nothing
# is needed where an older index is there.
rule all:
    input:
        PAGES,
        REPORTS / DATASET / "index.html",


rule index:
    input:
        PAGES,
    output:
        REPORTS / DATASET / "index.html",
    shell:
        "{PYTHON:q} -m studies.index {DATASET}"


rule report:
    input:
        evaluated,
        notebook="notebooks/{study}/report.ipynb",
    output:
        REPORTS / DATASET / "{study}.html",
    params:
        folder=lambda wildcards: RUNS / DATASET / wildcards.study,
    shell:
        "{PYTHON:q} -m studies.notebooks {input.notebook:q} {params.folder:q}/report.ipynb"
        " -p dataset={DATASET}"


rule evaluate:
    input:
        weights,
        built_on,
        notebook="notebooks/{study}/evaluate.ipynb",
        files=files,
    output:
        RUNS / "{dataset}/{study}/{system}/seed{seed}/metrics.json",
    threads: cores
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        given=lambda wildcards, input: " ".join(f"-f {shlex.quote(f)}" for f in input.files),
    shell:
        "{PYTHON:q} -m studies.notebooks {input.notebook:q} {params.folder:q}/evaluate.ipynb"
        " {params.given} -p seed={wildcards.seed}"


rule train:
    input:
        built_on,
        notebook="notebooks/{study}/train.ipynb",
        files=files,
    output:
        RUNS / "{dataset}/{study}/{system}/seed{seed}/model.safetensors",
    threads: cores
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        given=lambda wildcards, input: " ".join(f"-f {shlex.quote(f)}" for f in input.files),
    shell:
        "{PYTHON:q} -m studies.notebooks {input.notebook:q} {params.folder:q}/train.ipynb"
        " {params.given} -p seed={wildcards.seed}"
