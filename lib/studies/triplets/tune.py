"""Try settings on validation data alone: `python -m studies.triplets.tune grocery_tuning`.

`params/triplets/<dataset>/trials/<model>.yaml` lists what is tried for a model: `base`, the
parameters that all its trials share, and `trials`, name -> what differs. Every model must have as
many. Each trial is a training with seed 0 in a run folder of its own; none is tested.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from studies import paths
from studies.paths import StudyError, dataset_argument, relative, run_command
from studies.runs.files import write_atomic
from studies.runs.folder import load_run
from studies.runs.params import read_yaml
from studies.triplets.params import Parameters


def trials(dataset: str) -> dict[str, list[Parameters]]:
    """Return what is tried for each model; raises StudyError when models have unequal numbers."""
    folder = paths.REPOSITORY / "params" / "triplets" / dataset
    shared, tried = read_yaml(folder / "dataset.yaml"), {}
    for file in sorted((folder / "trials").glob("[!.]*.yaml")):
        listed = read_yaml(file)
        try:
            values = [
                {**shared, **listed["base"], **changes, "variant": name, "seed": 0}
                for name, changes in listed["trials"].items()
            ]
        except (AttributeError, KeyError, TypeError):
            raise StudyError(
                f"{relative(file)}: must hold `base` and `trials`, and each trial `name: value` "
                "lines or {}"
            ) from None
        tried[file.stem] = [Parameters.check(one, {"": relative(file)}) for one in values]
    numbers = {len(one) for one in tried.values()}
    if len(numbers) != 1 or not max(numbers):
        counts = ", ".join(f"{model} {len(one)}" for model, one in tried.items())
        raise StudyError(
            f"{relative(folder / 'trials')}: every model needs the same number of trials, found "
            f"{counts or 'none'}"
        )
    return tried


def record(dataset: str) -> pd.DataFrame:
    """Return one row a finished trial: model, trial, what differs, and its validation scores.

    `setting` says what differs from the model's first trial; of that one, everything tried.
    """
    rows = []
    for model, tried in trials(dataset).items():
        settings = pd.DataFrame(dict(leaves(one.resolved())) for one in tried)
        varied = settings.loc[:, settings.nunique(dropna=False) > 1].drop(columns="variant")
        for place, parameters in enumerate(tried):
            if not (parameters.folder() / "model.safetensors").exists():
                continue
            run, own = load_run(parameters.folder()), varied.iloc[place]
            best = run.curves.set_index("epoch").loc[run.provenance["best_epoch"]]
            differs = own[own.ne(varied.iloc[0]) | (place == 0)].dropna()
            rows.append(
                {
                    "model": model,
                    "trial": parameters.variant,
                    "setting": "; ".join(f"{name} {value}" for name, value in differs.items()),
                    "validation_macro_f1": round(best["validation_macro_f1"], 4),
                    "validation_severe_errors": int(best["validation_severe_errors"]),
                    "epoch": run.provenance["best_epoch"],
                    "images": run.provenance["images"]["validation"],
                }
            )
    return pd.DataFrame(rows)


def record_file(dataset: str) -> Path:
    """Return the file of the record; that of real data is committed with the reports."""
    return paths.reports() / dataset / "triplets_tuning.csv"


def kept_record(dataset: str) -> pd.DataFrame | None:
    """Return what was tried before the systems of a dataset were set, None when nothing was.

    `grocery_random` and `grocery_official` are tuned on `grocery_tuning`, `grocery_random_frozen`
    on `grocery_tuning_frozen` and its `@best` on `grocery_tuning_frozen_best`, what is trained as
    published from scratch on `grocery_tuning_published`, and so on.
    """
    parts = dataset.split("_")
    name = "_".join([parts[0], "tuning", *parts[2:]])
    files = [record_file(f"{name}{what}") for what in ("", "_best", "_published")]
    records = [pd.read_csv(file, keep_default_na=False) for file in files if file.exists()]
    return pd.concat(records, ignore_index=True) if records else None


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the numbers and names within a parameter: `loss margin`, `stages 2 learning_rate`.

    Lists of numbers count as one.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{name} {key}" if name else key)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for number, part in enumerate(value, 1):
            yield from leaves(part, f"{name} {number}")
    else:
        yield name, "none" if value is None else str(value)


def tune(dataset: str) -> Path:
    """Train every trial that is not trained yet; write the record and return its file."""
    # imported late: a run that is trained needs none of it
    from studies.triplets.train import train

    for parameters in chain(*trials(dataset).values()):
        print(parameters.system, flush=True)
        train(parameters)
    file = record_file(dataset)
    write_atomic(file, record(dataset).to_csv(index=False))
    return file


if __name__ == "__main__":
    run_command(lambda: tune(dataset_argument(__doc__)))
