"""Training that is stopped anywhere ends as if it had never been stopped."""

import math
import pickle
import re
import resource
import shutil
from types import SimpleNamespace

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from schedules import cosine
from sentences import refused
from studies.learning import fit as loop
from studies.learning.compute import epoch_seed, seed_all
from studies.learning.fit import (
    CHECKPOINT,
    Batches,
    adamw,
    fit,
    schedule,
    set_rate,
    write_atomic,
)

EPOCHS, STEPS, SIZE = 6, 3, 4


class Numbers(Dataset):
    """Points in the plane, fetched a batch at a time, and a target."""

    def __init__(self, noise=0.0):
        self.noise = noise
        chance = torch.Generator().manual_seed(1)
        self.points = torch.randn(STEPS * SIZE, 2, generator=chance)

    def __getitem__(self, rows):
        points = self.points[rows] + self.noise * torch.randn(len(rows), 2)
        return points, points.sum(1, keepdim=True).sin()

    def __len__(self):
        return len(self.points)


class Order(Sampler):
    """Batches in an order that depends on the epoch."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        chance = torch.Generator().manual_seed(100 + self.epoch)
        yield from torch.randperm(STEPS * SIZE, generator=chance).split(SIZE)

    def __len__(self):
        return STEPS


class Learner(lightning.LightningModule):
    """A small network; told what to score in each epoch, where to fail and when to stop."""

    def __init__(self, scores=None, fail_at=None, dropout=0.5, spoil=None, stop_after=None):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        self.scores, self.fail_at, self.spoil = scores, fail_at, spoil
        self.stop_after = stop_after
        self.seeds, self.snapshots = {}, {}

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), lr=1.0)

    def on_train_epoch_start(self):
        self.seeds[self.current_epoch] = torch.initial_seed()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate(self.current_epoch)

    def training_step(self, batch, number):
        if (self.current_epoch, number) == self.fail_at:
            raise RuntimeError("the machine fell over")
        points, target = batch
        loss = (self.network(points) - target).square().mean()
        if (self.current_epoch, number) == self.spoil:
            loss = loss * math.nan
        return loss

    def validation_step(self, batch, _):
        points, target = batch
        self.error = (self.network(points) - target).square().mean()

    def on_validation_epoch_end(self):
        epoch = self.current_epoch
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.snapshots[epoch] = weights
        score = self.scores[epoch] if self.scores else -float(self.error)
        self.log("validation_score", score)
        self.log("other", 1.0)
        if epoch + 1 == self.stop_after:
            self.stopped = "grew weary: let it rest"


def rate(epoch):
    return 0.1 if epoch < 3 else 0.01


def loaders(noise, workers):
    data = Numbers(noise)
    validation = [torch.arange(len(data))]
    return (
        DataLoader(data, sampler=Order(), batch_size=None, num_workers=workers),
        DataLoader(data, sampler=validation, batch_size=None),
    )


def start(folder, mode="max", epochs=EPOCHS, every=1, noise=0.0, workers=0, **settings):
    """Begin or go on with the run of a folder; return the module and the outcome."""
    seed_all(0)
    module = Learner(**settings)
    data = loaders(noise, workers)
    parameters = SimpleNamespace(seed=7, precision="32-true", epochs=epochs, validate_every=every)
    return module, fit(module, *data, folder, parameters, "validation_score", mode)


def stopped(*given, **settings):
    """Begin or go on with a run that falls over at `fail_at`."""
    with pytest.raises(RuntimeError, match="fell over"):
        start(*given, **settings)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody stopped: folder, module, outcome."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *start(folder)


@pytest.fixture
def in_a_log(monkeypatch):
    monkeypatch.setattr(loop, "watched", lambda: False)


def test_training_is_adam_on_the_batches_in_order(tmp_path):
    module, _ = start(tmp_path, dropout=0.0, scores=range(EPOCHS))
    seed_all(0)
    network = Learner(dropout=0.0).network
    adam, data, order = torch.optim.Adam(network.parameters()), Numbers(), Order()
    losses = []
    for epoch in range(EPOCHS):
        order.set_epoch(epoch)
        adam.param_groups[0]["lr"] = rate(epoch)
        losses.append([])
        for rows in order:
            points, target = data[rows]
            loss = (network(points) - target).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses[-1].append(loss.item())
    assert same(module.network.state_dict(), network.state_dict())
    means = [sum(row) / STEPS for row in losses]
    assert pd.read_csv(tmp_path / "curves.csv")["train_loss"].tolist() == pytest.approx(means)


@pytest.mark.parametrize("places", [[(3, 1)], [(0, 2)], [(1, 0), (1, 2), (4, 1), (5, 2)]])
def test_a_resumed_run_is_the_run_that_was_never_stopped(whole, tmp_path, places):
    folder, module, outcome = whole
    for place in places:
        stopped(tmp_path, fail_at=place)
    resumed, again = start(tmp_path)
    assert same(resumed.network.state_dict(), module.network.state_dict())
    assert (tmp_path / "curves.csv").read_bytes() == (folder / "curves.csv").read_bytes()
    assert (again.best_epoch, again.best_score) == (outcome.best_epoch, outcome.best_score)
    assert sorted(resumed.seeds) == list(range(places[-1][0], EPOCHS))
    assert same(resumed.snapshots[EPOCHS - 1], module.snapshots[EPOCHS - 1])
    one, other = (
        torch.load(place / CHECKPOINT, weights_only=True)["optimizer_states"][0]["state"]
        for place in (folder, tmp_path)
    )
    assert one.keys() == other.keys()
    assert all(same(one[key], other[key]) for key in one)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_draws_random_numbers_resumes_too(tmp_path, workers):
    """Workers fetch ahead, and take their seeds when the iterator is made."""
    settings = {"noise": 0.1, "workers": workers, "epochs": 3}
    module, _ = start(tmp_path / "whole", **settings)
    stopped(tmp_path / "again", fail_at=(1, 1), **settings)
    again, _ = start(tmp_path / "again", **settings)
    assert same(again.network.state_dict(), module.network.state_dict())
    quiet, _ = start(tmp_path / "quiet", epochs=3)
    assert not same(quiet.network.state_dict(), module.network.state_dict())


def test_a_run_killed_after_its_last_checkpoint_only_collects(whole, tmp_path):
    folder, module, outcome = whole
    (tmp_path / CHECKPOINT).parent.mkdir()
    shutil.copy(folder / CHECKPOINT, tmp_path / CHECKPOINT)
    resumed, again = start(tmp_path)
    assert resumed.seeds == {}
    assert again == outcome
    assert same(resumed.network.state_dict(), module.network.state_dict())


@pytest.mark.parametrize("killed", [None, (1, 1), (2, 2)])
def test_a_module_ends_its_training_and_it_stays_ended(tmp_path, capfd, in_a_log, killed):
    settings = {"scores": [0.1, 0.9, 0.3, 0.5, 1.0, 2.0], "stop_after": 3}
    if killed:
        stopped(tmp_path, fail_at=killed, **settings)
    module, outcome = start(tmp_path, **settings)
    assert outcome.stopped == "grew weary: let it rest"
    assert (outcome.best_epoch, outcome.best_score) == (2, pytest.approx(0.9))
    curves = (tmp_path / "curves.csv").read_bytes()
    assert pd.read_csv(tmp_path / "curves.csv")["epoch"].tolist() == [1, 2, 3]
    told = capfd.readouterr().out.splitlines()
    assert told.count("training stops: it grew weary: let it rest") == 1
    for _ in range(2):
        again, same_outcome = start(tmp_path, **settings)
        assert again.seeds == {}
        assert same_outcome == outcome
        assert same(again.network.state_dict(), module.network.state_dict())
        assert (tmp_path / "curves.csv").read_bytes() == curves
    whole, _ = start(tmp_path / "whole", epochs=3, scores=settings["scores"])
    assert same(module.network.state_dict(), whole.network.state_dict())


def test_curves_are_whole_whenever_the_checkpoint_is(whole, tmp_path, monkeypatch):
    """Whichever of the two files is written last, a kill between them loses no row."""
    written = []

    def write(path, content):
        written.append(path.name)
        if len(written) == 2 * EPOCHS:
            raise KeyError("killed")
        real(path, content)

    real = write_atomic
    monkeypatch.setattr(loop, "write_atomic", write)
    with pytest.raises(KeyError, match="killed"):
        start(tmp_path)
    monkeypatch.undo()
    start(tmp_path)
    assert (tmp_path / "curves.csv").read_bytes() == (whole[0] / "curves.csv").read_bytes()


def test_curves(whole):
    curves = pd.read_csv(whole[0] / "curves.csv")
    names = ["epoch", "step", "learning_rate", "train_loss", "validation_score"]
    assert list(curves.columns) == names
    assert curves["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert curves["step"].tolist() == [3, 6, 9, 12, 15, 18]
    assert curves["learning_rate"].tolist() == [0.1] * 3 + [0.01] * 3
    assert curves.notna().all(axis=None)


def test_every_epoch_has_random_numbers_of_its_own(whole):
    _, module, _ = whole
    assert module.seeds == {epoch: epoch_seed(7, epoch) for epoch in range(EPOCHS)}
    seeds = [epoch_seed(seed, epoch) for seed in range(20) for epoch in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert type(seeds[0]) is int


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("max", [0.1, 0.5, 0.3, 0.5], 2),
        ("max", [-3.0, -2.0, -1.0, 0.0], 4),
        ("min", [3.0, 1.0, 2.0, 1.0], 2),
        ("min", [-1.0, 0.0, 1.0, 2.0], 1),
        ("max", [math.nan, 0.1, math.nan, 0.0], 2),
    ],
)
def test_validation_chooses_the_earliest_best_epoch(tmp_path, mode, scores, best):
    module, outcome = start(tmp_path, mode, epochs=4, scores=scores)
    assert outcome.best_epoch == best
    assert outcome.best_score == pytest.approx(scores[best - 1])
    assert same(module.network.state_dict(), module.snapshots[best - 1])
    if best < 4:
        assert not same(module.network.state_dict(), module.snapshots[3])


def test_the_best_epoch_may_lie_before_the_stop(tmp_path):
    scores = [0.1, 0.9, 0.3, 0.5, 0.9, 0.2]
    stopped(tmp_path, scores=scores, fail_at=(3, 0))
    module, outcome = start(tmp_path, scores=scores)
    assert outcome.best_epoch == 2
    assert not same(module.network.state_dict(), module.snapshots[EPOCHS - 1])
    whole_module, _ = start(tmp_path / "whole", scores=scores)
    assert same(module.network.state_dict(), whole_module.network.state_dict())


def test_validation_every_second_epoch(tmp_path):
    module, outcome = start(tmp_path, every=2, epochs=5, scores=[9.0, 0.1, 9.0, 0.2, 9.0])
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert curves["validation_score"].notna().tolist() == [False, True, False, True, False]
    assert sorted(module.snapshots) == [1, 3]
    assert outcome.best_epoch == 4
    stopped(tmp_path / "again", every=2, epochs=5, scores=range(5), fail_at=(3, 1))
    again, _ = start(tmp_path / "again", every=2, epochs=5, scores=range(5))
    assert same(again.network.state_dict(), module.network.state_dict())


@pytest.mark.parametrize("step", [0, STEPS - 1])
def test_a_loss_that_is_no_number_stops_before_it_is_scored(tmp_path, step):
    message = refused(lambda: start(tmp_path, spoil=(2, step)))
    assert message == f"{tmp_path}: training diverged in epoch 3 (loss nan); lower learning_rate"
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 2


def test_weights_that_are_no_numbers_stop_too(tmp_path, monkeypatch):
    def spoil(self, *_):
        if self.current_epoch == 1:
            with torch.no_grad():
                self.network[0].weight[0, 0] = math.inf

    monkeypatch.setattr(Learner, "on_train_batch_end", spoil)
    monkeypatch.setattr(Learner, "training_step", lambda self, *_: 0 * self.network[2].bias.sum())
    assert "diverged in epoch 2 (loss 0)" in refused(start, tmp_path)


class Trap:
    def __reduce__(self):
        return pytest.fail, ("code of a checkpoint was run",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"\x00" * 5000 + whole[5000:],
        lambda whole: pickle.dumps(Trap(), 2),
    ],
    ids=["empty", "cut", "overwritten", "code"],
)
def test_a_damaged_checkpoint_is_one_sentence_and_no_code_is_run(whole, tmp_path, damage):
    folder, module, _ = whole
    file = tmp_path / CHECKPOINT
    file.parent.mkdir()
    file.write_bytes(damage((folder / CHECKPOINT).read_bytes()))
    message = refused(start, tmp_path)
    assert message.startswith(f"{file}: the checkpoint cannot be read (")
    assert "delete it" in message
    file.unlink()
    again, _ = start(tmp_path)
    assert same(again.network.state_dict(), module.network.state_dict())


def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stands(whole, tmp_path):
    """The size limit of a process makes writes fail halfway, as a full disk does."""
    stopped(tmp_path, fail_at=(3, 0))
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
    again, _ = start(tmp_path)
    assert same(again.network.state_dict(), whole[1].network.state_dict())


def test_a_log_has_one_line_an_epoch(tmp_path, capfd, in_a_log):
    stopped(tmp_path, fail_at=(2, 0))
    first = capfd.readouterr()
    start(tmp_path)
    second = capfd.readouterr()
    lines = first.out.splitlines() + second.out.splitlines()
    assert lines.pop(2) == "resumed after epoch 2 of 6"
    assert len(lines) == EPOCHS
    rows = pd.read_csv(tmp_path / "curves.csv")
    for epoch, line in enumerate(lines, 1):
        pattern = rf"epoch {epoch}/6  train_loss (\S+)  validation_score (\S+)  \d+ s left"
        loss, score = re.fullmatch(pattern, line).groups()
        assert float(loss) == pytest.approx(rows["train_loss"][epoch - 1], rel=1e-3)
        assert float(score) == pytest.approx(rows["validation_score"][epoch - 1], rel=1e-3)
    assert lines[-1].endswith("  0 s left")
    assert first.err == second.err == ""


def test_where_someone_watches_there_is_a_bar(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/train.ipynb")
    start(tmp_path)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert f"{EPOCHS * STEPS}/{EPOCHS * STEPS}" in printed.err
    assert re.search(r"epoch 6/6: 100%.*train loss [\d.]+  score", printed.err)


# --- rates and groups, against torch's own schedulers and by hand


@given(st.integers(1, 60), st.floats(0, 0.99), st.data())
@settings(deadline=None)
def test_the_rate_rises_evenly_and_falls_along_a_cosine(steps, warm_up, draw):
    step = draw.draw(st.integers(0, steps - 1))
    assert schedule(step, steps, warm_up) == pytest.approx(cosine(step, steps, warm_up), abs=1e-6)


def test_vectors_do_not_decay_and_published_weights_have_a_rate_of_their_own():
    new, known, frozen = nn.Linear(3, 4), nn.Linear(5, 3), nn.Linear(7, 5)
    frozen.requires_grad_(False)
    optimizer = adamw(nn.Sequential(frozen, known, new), 0.1, 0.5, known.parameters(), 0.01)
    groups = {
        tuple(one.shape): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for one in group["params"]
    }
    assert groups == {
        **{(4, 3): (0.1, 0.5), (4,): (0.1, 0.0)},
        **{(3, 5): (0.01, 0.5), (3,): (0.01, 0.0)},
    }
    # curves show the rate of the first group
    assert optimizer.param_groups[0]["lr"] == 0.1
    set_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05, 0.005}


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
    batches.set_epoch(epoch)
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
            batches.set_epoch(epoch)
            yield tuple(row for batch in batches for row in batch)

    assert len({*orders(0, range(4)), *orders(1, range(4))}) == 8
    assert list(orders(5, [2, 3])) == list(orders(5, range(4)))[2:]
