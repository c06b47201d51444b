"""The ledger: what the slides and the literature claim, and what became of it on a dataset."""

import pandas as pd

from studies import paths
from studies.captioning import judgements
from studies.captioning.results import Results
from studies.paths import StudyError
from studies.reporting.claims import Claim, verdict, word
from studies.reporting.claims import tally as tallied
from studies.reporting.tables import between, in_words, side, signed
from studies.runs.files import write_atomic

STEPS = (("resnet_transformer", "clip_transformer"), ("resnet_lstm", "resnet_transformer"))
C1 = ("C1", "CLIP+Transformer > ResNet+Transformer > ResNet+LSTM, with pretrained encoders")
C2 = ("C2", "CIDEr agrees best with human judgement, METEOR better than BLEU")


def ledger(results: Results, tests: pd.DataFrame, agreement: pd.DataFrame | None) -> list[Claim]:
    """Return a verdict on each claim.

    `tests` is what `comparisons.paired_tests` returned, `agreement` what `human_agreement` did.
    """
    return [architectures(results, tests), metrics(agreement)]


def architectures(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of C1; from scratch it is another question, answered beside."""
    experiment = "CIDEr of the three systems on the same test images"
    needed = ("resnet_lstm", "resnet_transformer", "clip_transformer")
    absent = [name for name in needed if name not in results.systems]
    if absent:
        return Claim(
            *C1,
            experiment,
            "",
            f"not tested here: no run of {' or '.join(absent)} on {results.dataset}",
        )
    rows = [row for step in STEPS if (row := between(tests, *step, "cider")) is not None]
    if len(rows) < len(STEPS):
        return Claim(*C1, experiment, "", "not tested here: the systems have no seed in common")
    figure = "; ".join(map(in_words, rows))
    seeds = min(int(row.seeds) for row in rows)
    said = verdict(results.dataset, [side(row) for row in rows], seeds)
    if set(needed) & set(results.scratch):
        said = f"not tested here: the encoders are from scratch, where the order {said}"
    return Claim(*C1, experiment, figure, said)


def metrics(agreement: pd.DataFrame | None) -> Claim:
    """Return the row of C2."""
    experiment = (
        "Kendall's τ_c between each metric and three experts, one by one, on Flickr8k's pairs of "
        "image and caption; intervals by resampling images"
    )
    if agreement is None:
        return Claim(
            *C2, experiment, "", "not tested here: nobody has judged captions of this data"
        )
    taus = agreement[agreement["judgements"] == "expert"].set_index("metric")
    figure = ", ".join(
        f"{metric} {row.tau:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"
        for metric, row in taus[taus["against"] == ""].iterrows()
    )
    steps = taus[taus["against"] != ""]
    said = "; ".join(
        f"{metric} − {row.against} {signed(row.tau, row.ci_low, row.ci_high, False)}"
        for metric, row in steps.iterrows()
    )
    sides = [side(row) for row in steps.itertuples()]
    pairs = int(taus["pairs"].iloc[0])
    return Claim(*C2, experiment, f"{figure}; {said}", f"{word(sides)} ({pairs:,} pairs)")


def human_agreement(results: Results) -> pd.DataFrame | None:
    """Return how the metrics agree with the experts, None where there are no judgements.

    One row a metric (`against` empty), and one a claimed difference. Computed once, and kept
    beside the runs.
    """
    if results.runs[0].params["source"]["name"] != "flickr8k":
        return None
    file = results.folder / "judgements.csv"
    if not file.exists():
        try:
            judged = judgements.judged(paths.data() / "flickr8k", "expert")
        except StudyError as error:
            print(f"human judgements are left out: {error}", flush=True)
            return None
        both = [judgements.agreement(judged), judgements.differences(judged)]
        write_atomic(file, tidy(*both).to_csv(index=False))
    return pd.read_csv(file, keep_default_na=False)


def tidy(agreement: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """Return both tables of `judgements` as one."""
    renamed = differences.rename(
        columns={"difference": "tau", "first": "metric", "second": "against"}
    )
    columns = ["metric", "against", "judgements", "tau", "ci_low", "ci_high", "pairs"]
    renamed["pairs"] = agreement["pairs"].iloc[0]
    return pd.concat([agreement.assign(against=""), renamed])[columns]


def tally(claims: list[Claim]) -> str:
    """Return in one sentence what became of the claims."""
    return f"Of {tallied(claims)}."
