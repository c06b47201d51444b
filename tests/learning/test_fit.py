"""Training that is stopped anywhere ends as if it had never been stopped."""

import io
import math
import pickle
import re
import resource
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset

from plug import pulled
from schedules import cosine
from sentences import refused
from studies.learning import fit as loop
from studies.learning.compute import epoch_seed, seed_all
from studies.learning.fit import CHECKPOINT, Batches, Learner, Scheduled, fit, schedule

EPOCHS, STEPS, SIZE, SEED = 6, 3, 4, 7


class Numbers(Dataset):
    """Points in the plane, fetched a batch at a time, and a target."""

    def __init__(self):
        chance = torch.Generator().manual_seed(1)
        self.points = torch.randn(STEPS * SIZE, 2, generator=chance)

    def __getitem__(self, rows):
        return self.points[rows], self.points[rows].sum(1, keepdim=True).sin()

    def __len__(self):
        return len(self.points)


class Small(Learner):
    """A small network; `told` are the scores of its epochs, after `weary` of which it stops."""

    def __init__(self, parameters, told=None, dropout=0.5, weary=None, gradient_norm=None):
        layers = nn.Linear(2, 8), nn.Dropout(dropout), nn.Linear(8, 1)
        super().__init__(parameters, nn.Sequential(*layers))
        self.told, self.weary, self.gradient_norm = told, weary, gradient_norm
        self.seeds, self.snapshots = {}, {}

    def optimizer(self):
        return torch.optim.Adam(self.network.parameters(), lr=1.0)

    def begin_epoch(self, epoch, optimizer):
        self.epoch = epoch
        optimizer.param_groups[0]["lr"] = rate(epoch)

    def loss(self, batch):
        self.seeds.setdefault(self.epoch, (torch.initial_seed(), self.chance.initial_seed()))
        points, target = batch
        outputs = self.network(points)
        self.dtype = outputs.dtype
        return (outputs - target).square().mean()

    def scores(self, batches, curves):
        assert len(curves) == self.epoch
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.snapshots[self.epoch + 1] = weights
        if self.epoch + 1 == self.weary:
            self.stopped = "grew weary: let it rest"
        (batch,) = batches
        return {
            "validation_score": self.told[self.epoch] if self.told else -float(self.loss(batch))
        }


def rate(epoch):
    return 0.1 if epoch < 3 else 0.01


def start(
    folder,
    mode="max",
    epochs=EPOCHS,
    every=1,
    precision="32-true",
    kind=Small,
    **options,
):
    """Begin or go on with the run of a folder; return learner and outcome."""
    seed_all(0)
    parameters = SimpleNamespace(
        seed=SEED, precision=precision, epochs=epochs, validate_every=every
    )
    learner, data = kind(parameters, **options), Numbers()
    order = Batches(np.arange(len(data)), SIZE, SEED)
    read = (data, order), (data, [torch.arange(len(data))])
    return learner, fit(learner, *read, folder, parameters, "validation_score", mode)


def same(one, other):
    """Whether two learners, or two states, hold the same weights to the bit."""
    one, other = (w.network.state_dict() if isinstance(w, Small) else w for w in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def curves(folder):
    return pd.read_csv(folder / "curves.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody stopped: folder, learner, outcome."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *start(folder)


@pytest.mark.parametrize("bound", [None, 1.0])
def test_training_is_adam_on_the_batches_in_order(tmp_path, bound):
    learner, _ = start(tmp_path, told=range(EPOCHS), dropout=0.0, gradient_norm=bound)
    seed_all(0)
    network, data = Small(None, dropout=0.0).network, Numbers()
    adam, steps = torch.optim.Adam(network.parameters()), []
    for epoch in range(EPOCHS):
        adam.param_groups[0]["lr"] = rate(epoch)
        order = np.random.default_rng([SEED, epoch]).permutation(STEPS * SIZE)
        for rows in order.reshape(STEPS, SIZE).tolist():
            points, target = data[rows]
            loss = (network(points) - target).square().mean()
            adam.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), bound or math.inf)
            adam.step()
            steps.append((len(steps) + 1, epoch + 1, rate(epoch), loss.item(), norm.item()))
    assert same(learner, network.state_dict())
    steps = np.array(steps)
    means = steps[:, 3].reshape(EPOCHS, STEPS).mean(1)
    assert curves(tmp_path)["train_loss"].tolist() == pytest.approx(means)
    assert (tmp_path / "steps.csv").exists() == bool(bound)
    if bound:
        assert steps[:, 4].min() < bound < steps[:, 4].max()
        names = ["step", "epoch", "learning_rate", "batch_loss", "gradient_norm"]
        assert pd.read_csv(tmp_path / "steps.csv")[names].to_numpy() == pytest.approx(steps)


def test_curves(whole):
    frame = curves(whole[0])
    assert list(frame) == ["epoch", "step", "learning_rate", "train_loss", "validation_score"]
    wanted = [[epoch + 1, STEPS * (epoch + 1), rate(epoch)] for epoch in range(EPOCHS)]
    assert frame.iloc[:, :3].to_numpy().tolist() == wanted
    assert frame.notna().all(axis=None)


def test_every_epoch_has_random_numbers_of_its_own(whole):
    assert whole[1].seeds == {epoch: (epoch_seed(SEED, epoch),) * 2 for epoch in range(EPOCHS)}
    seeds = [epoch_seed(seed, epoch) for seed in range(20) for epoch in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_runs_of_one_process_have_each_their_precision(whole, tmp_path):
    for precision, dtype in (("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)):
        learner, outcome = start(tmp_path / precision, precision=precision)
        assert outcome.precision == precision
        assert learner.dtype == dtype
        assert all(one.dtype == torch.float32 for one in learner.network.parameters())
        assert same(learner, whole[1]) == (precision == "32-true")


class TestResume:
    @pytest.mark.parametrize("places", [[(3, 1)], [(0, 2)], [(1, 0), (1, 2), (4, 1), (5, 2)]])
    def test_it_is_the_run_that_was_never_stopped(self, whole, tmp_path, places):
        folder, learner, outcome = whole
        for place in places:
            with pulled(Small, *place):
                start(tmp_path, gradient_norm=math.inf)
        resumed, again = start(tmp_path, gradient_norm=math.inf)
        assert same(resumed, learner)
        assert same(resumed.snapshots[EPOCHS], learner.snapshots[EPOCHS])
        assert (tmp_path / "curves.csv").read_bytes() == (folder / "curves.csv").read_bytes()
        steps = pd.read_csv(tmp_path / "steps.csv")["step"].tolist()
        assert steps == list(range(1, EPOCHS * STEPS + 1))
        assert (again.best_epoch, again.best_score) == (outcome.best_epoch, outcome.best_score)
        assert sorted(resumed.seeds) == list(range(places[-1][0], EPOCHS))
        moments, others = (
            torch.load(place / CHECKPOINT, weights_only=True)["optimizer"]["state"]
            for place in (folder, tmp_path)
        )
        assert moments.keys() == others.keys()
        assert all(same(moments[key], others[key]) for key in moments)

    @pytest.mark.parametrize("write", [2, 3, 2 * EPOCHS - 1, 2 * EPOCHS])
    def test_killed_before_or_between_curves_and_checkpoint(
        self, whole, tmp_path, monkeypatch, write
    ):
        written, write_atomic = [], loop.write_atomic

        def killed(path, content):
            written.append(path)
            if len(written) == write:
                raise KeyboardInterrupt
            write_atomic(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "write_atomic", killed)
            with pytest.raises(KeyboardInterrupt):
                start(tmp_path)
        resumed, _ = start(tmp_path)
        assert min(resumed.seeds) == (write - 1) // 2  # that epoch is made again
        assert same(resumed, whole[1])
        assert (tmp_path / "curves.csv").read_bytes() == (whole[0] / "curves.csv").read_bytes()

    def test_after_the_last_checkpoint_it_only_collects(self, whole):
        folder, learner, outcome = whole
        resumed, again = start(folder)
        assert resumed.seeds == {}
        assert again == outcome
        assert same(resumed, learner)

    @pytest.mark.parametrize("killed", [None, (1, 1), (2, 2)])
    def test_what_a_learner_stopped_stays_stopped(self, tmp_path, killed):
        options = {"told": [0.1, 0.9, 0.3, 0.5, 1.0, 2.0], "weary": 3}
        if killed:
            with pulled(Small, *killed):
                start(tmp_path, **options)
        learner, outcome = start(tmp_path, **options)
        assert outcome.stopped == "grew weary: let it rest"
        assert (outcome.best_epoch, outcome.best_score) == (2, 0.9)
        assert curves(tmp_path)["epoch"].tolist() == [1, 2, 3]
        again, same_outcome = start(tmp_path, **options)
        assert again.seeds == {}
        assert same_outcome == outcome
        assert same(again, learner)
        assert len(curves(tmp_path)) == 3
        assert same(start(tmp_path / "whole", epochs=3, told=options["told"])[0], learner)


@pytest.mark.parametrize(
    ("mode", "every", "told", "best"),
    [
        ("max", 1, [0.1, 0.5, 0.3, 0.5], 2),
        ("min", 1, [3.0, 1.0, 2.0, 1.0], 2),
        ("max", 1, [math.nan, 0.1, math.nan, 0.0], 2),
        ("max", 2, [9.0, 0.1, 9.0, 0.2], 4),
    ],
)
def test_the_earliest_best_epoch_is_kept_also_after_a_stop(tmp_path, mode, every, told, best):
    options = {"mode": mode, "every": every, "epochs": 4, "told": told}
    whole, outcome = start(tmp_path / "whole", **options)
    assert (outcome.best_epoch, outcome.best_score) == (best, told[best - 1])
    assert sorted(whole.snapshots) == list(range(every, 5, every))
    scored = curves(tmp_path / "whole").dropna()
    assert set(scored["epoch"]) <= set(whole.snapshots)
    assert same(whole, whole.snapshots[best])
    assert same(whole, whole.snapshots[4]) == (best == 4)
    with pulled(Small, 3, 0):
        start(tmp_path, **options)
    resumed, again = start(tmp_path, **options)
    assert (again.best_epoch, again.best_score) == (best, told[best - 1])
    assert same(resumed, whole)


class Diverging(Small):
    """A small network that takes one endless step."""

    def __init__(self, parameters, endless):
        super().__init__(parameters)
        self.endless = endless

    def begin_step(self, step, optimizer):
        optimizer.param_groups[0]["lr"] = math.inf if step == self.endless else 0.1


@pytest.mark.parametrize(("batch", "loss"), [(0, r"nan"), (STEPS - 1, r"0\.\d+")])
def test_divergence_stops_before_it_is_scored(tmp_path, batch, loss):
    """Whether the loss shows it or, after the last step of an epoch, the weights alone."""
    message = refused(lambda: start(tmp_path, kind=Diverging, endless=2 * STEPS + batch))
    wanted = rf"{tmp_path}: training diverged in epoch 3 \(loss {loss}\); lower learning_rate"
    assert re.fullmatch(wanted, message)
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert all(value.isfinite().all() for value in kept["network"].values())
    assert len(curves(tmp_path)) == 2


class Trap:
    def __reduce__(self):
        return pytest.fail, ("code of a checkpoint was run",)


OLDER = {"epoch": 3, "state_dict": {}, "optimizer_states": [], "callbacks": {}, "loops": {}}


def flipped(content: bytes) -> bytes:
    """Turn over a bit in the middle of the largest part, which holds numbers."""
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        part = max(parts.infolist(), key=lambda part: part.file_size)
    place = part.header_offset + 64 + part.file_size // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda file, content: file.write_bytes(b""),
    "cut": lambda file, content: file.write_bytes(content[: len(content) // 2]),
    "overwritten": lambda file, content: file.write_bytes(b"\x00" * 5000 + content[5000:]),
    "flipped": lambda file, content: file.write_bytes(flipped(content)),
    "code": lambda file, content: file.write_bytes(pickle.dumps(Trap(), 2)),
    "older version": lambda file, content: torch.save(OLDER, file),
}


class TestFaults:
    @pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
    def test_a_damaged_checkpoint_is_one_sentence_and_no_code_is_run(self, whole, tmp_path, damage):
        file = tmp_path / CHECKPOINT
        file.parent.mkdir()
        damage(file, (whole[0] / CHECKPOINT).read_bytes())
        message = refused(start, tmp_path)
        assert message.startswith(f"{file}: the checkpoint cannot be read (")
        assert "delete it" in message
        file.unlink()
        assert same(start(tmp_path)[0], whole[1])

    def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stands(self, whole, tmp_path):
        """The size limit of a process makes writes fail halfway, as a full disk does."""
        with pulled(Small, 3, 0):
            start(tmp_path)
        before = (tmp_path / CHECKPOINT).read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        try:
            message = refused(start, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert message.startswith(f"cannot write {tmp_path / CHECKPOINT}: File too large; ")
        assert (tmp_path / CHECKPOINT).read_bytes() == before
        assert list((tmp_path / "checkpoint").iterdir()) == [tmp_path / CHECKPOINT]
        assert same(start(tmp_path)[0], whole[1])


class TestProgress:
    def test_a_log_has_one_line_an_epoch(self, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr(loop, "watched", lambda: False)
        with pulled(Small, 2, 0):
            start(tmp_path)
        start(tmp_path)
        printed = capfd.readouterr()
        lines = printed.out.splitlines()
        assert lines.pop(2) == "resumed after epoch 2 of 6"
        assert [line.split()[1] for line in lines] == [f"{n}/6" for n in range(1, 7)]
        assert printed.err == ""


# --- rates and groups, against torch's own schedulers and by hand


@given(st.integers(1, 60), st.floats(0, 0.99), st.data())
@settings(deadline=None)
def test_the_rate_rises_evenly_and_falls_along_a_cosine(steps, warm_up, draw):
    step = draw.draw(st.integers(0, steps - 1))
    assert schedule(step, steps, warm_up) == pytest.approx(cosine(step, steps, warm_up), abs=1e-6)


def test_vectors_do_not_decay_and_published_weights_have_a_rate_of_their_own():
    new, known, frozen = nn.Linear(3, 4), nn.Linear(5, 3), nn.Linear(7, 5)
    frozen.requires_grad_(False)
    rates = {"learning_rate": 0.1, "backbone_learning_rate": 0.01, "warm_up": 0.5}
    parameters = SimpleNamespace(**rates, weight_decay=0.5)
    network = nn.Sequential(frozen, known, new)
    learner = Scheduled(parameters, network, 8, known.parameters())
    optimizer = learner.optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = {
        tuple(one.shape): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for one in group["params"]
    }
    assert groups == {
        **{(4, 3): (0.1, 0.5), (4,): (0.1, 0.0)},
        **{(3, 5): (0.01, 0.5), (3,): (0.01, 0.0)},
    }
    for step in range(8):
        learner.begin_step(step, optimizer)
        now = cosine(step, 8, 0.5)
        # what is new comes first: the curves show the rate of the first group
        wanted = [0.1 * now, 0.1 * now, 0.01 * now, 0.01 * now]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(wanted)


# --- batches hold every row once an epoch, in an order that the seed and the epoch decide


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, 999), min_size=1, max_size=60, unique=True).map(np.array),
    size=st.integers(1, 20),
    seed=st.integers(0, 99) | st.none(),
    epoch=st.integers(0, 99),
)
def test_every_row_once_an_epoch(rows, size, seed, epoch):
    batches = Batches(rows, size, seed)
    batches.epoch = epoch
    drawn = list(batches)
    in_order = [row for batch in drawn for row in batch]
    assert sorted(in_order) == sorted(rows)
    assert seed is not None or in_order == rows.tolist()
    assert len(drawn) == len(batches)
    assert {len(batch) for batch in drawn[:-1]} <= {size}
    assert 1 <= len(drawn[-1]) <= size


def test_an_order_of_its_own_every_epoch_wherever_a_run_is_taken_up():
    def orders(seed, epochs):
        batches = Batches(np.arange(40), 8, seed)
        for epoch in epochs:
            batches.epoch = epoch
            yield tuple(row for batch in batches for row in batch)

    assert len({*orders(0, range(4)), *orders(1, range(4))}) == 8
    assert list(orders(5, [2, 3])) == list(orders(5, range(4)))[2:]
