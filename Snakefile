# What depends on what: params + notebook -> trained -> evaluated -> report -> index.
# The files below params/<study>/<dataset>/ are the list of runs; nothing else names a model.
#
#   snakemake --cores 2 --config dataset=demo study=triplets model=flexible seeds=0,1
#
# Only files that mark completion are outputs: Snakemake deletes the outputs of a failed job, and
# a checkpoint must survive one.

import shlex
from pathlib import Path

from studies import paths
from studies.runs import warm
from studies.runs.params import load_parameters, requested, run_files, studies_on

PYTHON = shlex.join(warm.COMMAND)
RUNS, REPORTS = paths.runs(), paths.reports()
NOTEBOOKS = paths.REPOSITORY / "notebooks"
DATASET = str(config.get("dataset") or "demo")
SEEDS = [int(seed) for seed in str(config.get("seeds", 0)).split(",")]
MODELS = list(filter(None, str(config.get("model") or "").split(",")))
STUDIES = str(config.get("study") or ",".join(studies_on(DATASET))).split(",")
RUN = "{PYTHON} -m studies.runs.notebooks {input.notebook:q} {params.folder:q}"
NAMED = " -p dataset={wildcards.dataset} -p system={wildcards.system} -p seed={wildcards.seed}"
PAGES = expand(REPORTS / DATASET / "{study}.html", study=STUDIES)


def evaluated(wildcards):
    files = requested(DATASET, [wildcards.study], MODELS, SEEDS)
    return [file for file in files if file.name == "metrics.json"]


def files(wildcards):
    return run_files(wildcards.study, wildcards.dataset)[wildcards.system]


def weights(wildcards):
    if not load_parameters(wildcards.study, wildcards.dataset, wildcards.system).trained:
        return []
    run = RUNS / wildcards.dataset / wildcards.study / wildcards.system / f"seed{wildcards.seed}"
    return run / "model.safetensors"


def built_on(wildcards):
    after = load_parameters(wildcards.study, wildcards.dataset, wildcards.system).after
    runs = RUNS / wildcards.dataset / wildcards.study
    return [runs / system / f"seed{wildcards.seed}" / "metrics.json" for system in after]


# What others wait for begins first, then what stands first in params/ (captioners, which train
# longest), and the reports last, side by side.
LISTED = [(study, system) for study in STUDIES for system in run_files(study, DATASET)]
AWAITED = {(run[0], name) for run in LISTED for name in load_parameters(run[0], DATASET, run[1]).after}


def urgency(wildcards):
    run = wildcards.study, wildcards.system
    return len(LISTED) * (1 + (run in AWAITED)) - LISTED.index(run)


def cores(wildcards):
    return load_parameters(wildcards.study, wildcards.dataset, wildcards.system).threads


wildcard_constraints:
    study="(?!index)[a-z]+",
    seed=r"\d+",


# Every run and report is named beside the index: of what only a file that is already there wants,
# Snakemake thinks nothing is needed.
rule all:
    input:
        requested(DATASET, STUDIES, MODELS, SEEDS),
        PAGES,
        REPORTS / DATASET / "index.html",


rule index:
    input:
        PAGES,
    output:
        REPORTS / DATASET / "index.html",
    shell:
        "{PYTHON} -m studies.reporting.publish {DATASET} --index"


rule report:
    input:
        evaluated,
        notebook=NOTEBOOKS / "{study}/report.ipynb",
    output:
        REPORTS / DATASET / "{study}.html",
    shell:
        "{PYTHON} -m studies.reporting.publish {DATASET} {wildcards.study}"


rule evaluate:
    input:
        weights,
        built_on,
        files,
        notebook=NOTEBOOKS / "{study}/evaluate.ipynb",
    output:
        RUNS / "{dataset}/{study}/{system}/seed{seed}/metrics.json",
    threads: cores
    priority: urgency
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        RUN + "/evaluate.ipynb" + NAMED


rule train:
    input:
        built_on,
        files,
        notebook=NOTEBOOKS / "{study}/train.ipynb",
    output:
        RUNS / "{dataset}/{study}/{system}/seed{seed}/model.safetensors",
    threads: cores
    priority: urgency
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        RUN + "/train.ipynb" + NAMED
