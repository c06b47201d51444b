"""Train one system: `python -m studies.recipes.train -f dataset.yaml -f system.yaml -p seed=0`."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from studies.inputs.images import augment
from studies.inputs.reading import sizes
from studies.learning import compute
from studies.learning.fit import Batches, Examples, Scheduled, fit
from studies.paths import run_command
from studies.recipes import calibration, data
from studies.recipes.metrics import ingredient_steps, mean_average_precision
from studies.recipes.model import CHUNK, Decision, Logits, Recogniser, build, gathered, look
from studies.recipes.params import Parameters
from studies.reporting.bootstrap import value

MONITOR = "validation_score"


def weighted_loss(logits: Logits, dish: Tensor, present: Tensor, weight: float) -> Tensor:
    """Return equation (1) + weight × equation (2), what both heads are trained with in parallel.

    (1) is L = −Σ_i y_i log ŷ_i with ŷ = softmax(logits), as a mean over images; (2) is
    L = −1/(B·S) Σ_j Σ_i [y_ji log ŷ_ji + (1 − y_ji) log(1 − ŷ_ji)] with ŷ = sigmoid(logits).

    Args:
        logits: (B, C) of dishes and (B, S) of ingredients.
        dish: (B,) index of the true dish.
        present: (B, S) whether an ingredient is there.
        weight: 0 leaves ingredients out.

    """
    loss = cross_entropy(logits.dishes.float(), dish)
    if weight:
        ingredients = logits.ingredients.float()
        loss = loss + weight * binary_cross_entropy_with_logits(ingredients, present.float())
    return loss


def triplet_loss(embeddings: Tensor, dish: Tensor, margin: float) -> Tensor:
    """Return the mean of max(D(a, p) − D(a, n) + margin, 0) over semi-hard triplets of dishes.

    Of embeddings (B, E) of length 1 and dishes (B,). F. Schroff et al., *FaceNet*, CVPR 2015.
    """
    # late: it takes seconds
    from pytorch_metric_learning import losses, miners

    triplets = miners.TripletMarginMiner(margin, "semihard")(embeddings, dish)
    return losses.TripletMarginLoss(margin)(embeddings, dish, triplets)


class TwoHeads(Scheduled):
    """Both heads in training.

    Two networks share nothing, so the gradient of each is that of its own loss alone. The epoch is
    chosen by the mean of what the heads are asked for: top-1 of dishes and mean average precision
    of ingredients (top-1 alone where ingredients have no weight). `known` are the training plates
    that a network compares with.
    """

    known: tuple[np.ndarray, ...] = ()

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the loss of pixels or features, (B,) dishes and (B, S) ingredients."""
        pixels, dish, present = batch
        if self.settings.augmentation is not None:
            pixels = augment(pixels, self.chance, **self.settings.augmentation.model_dump())
        logits = self.network(compute.to_input(pixels, self.device))
        if margin := self.settings.network.triplet:
            return triplet_loss(*self.whole((logits, dish)), margin)
        weight = self.settings.network.ingredient_weight
        return weighted_loss(*self.whole((logits, dish, present)), weight)

    def scores(self, batches: Iterable[Any], curves: pd.DataFrame) -> dict[str, float]:
        """Return top-1 of dishes, mean average precision of ingredients, and their mean."""
        outputs, truth = [], []
        if self.settings.network.triplet:
            self.network.remember(*self.known)
        for pixels, *targets in batches:
            outputs.append(self.network(compute.to_input(pixels, self.device)))
            truth.append(targets)
        logits = gathered(outputs)
        dish, present = (torch.cat(parts).cpu().numpy() for parts in zip(*truth, strict=True))
        scores = {"validation_dish_top1": float((logits.dishes.argmax(1).numpy() == dish).mean())}
        if self.settings.network.ingredient_weight:
            probabilities = logits.ingredients.sigmoid().numpy()
            steps = ingredient_steps(probabilities, present)
            metric = mean_average_precision(steps, present)
            scores["validation_ingredient_map"] = value(metric, len(present))
        return {MONITOR: float(np.mean(list(scores.values()))), **scores}


@compute.trains
def train(parameters: Parameters) -> Iterator[Any]:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend.
    """
    plates = data.read(parameters)
    parts = data.split(plates, parameters)
    inputs = data.inputs(plates, parameters)
    known, rest = (np.flatnonzero(parts == part) for part in ("train", "validation"))
    names, dish = plates.dishes, plates.dish
    if parameters.network.names == "variant":
        names, dish = plates.variants, plates.variant
    folder = yield
    width = inputs.shape[-1] if parameters.network.frozen else None
    heads = len(names), len(plates.ingredients)
    network = build(parameters.network, *heads, width, plates=len(known))
    examples = Examples(inputs, dish, plates.present)
    training = Batches(known, parameters.images, parameters.seed)
    batches = (examples, training), (examples, Batches(rest, CHUNK, None))
    fine_tuned = parameters.network.trunk.name == "backbone" and not parameters.network.frozen
    published = network.trunks.parameters() if fine_tuned else ()
    learner = TwoHeads(parameters, network, parameters.epochs * len(training), published)
    if parameters.network.triplet:
        learner.known = inputs[known], dish[known], plates.present[known]
    outcome = fit(learner, *batches, folder, parameters, MONITOR)
    network = network.to(compute.device())
    logits = look(network, inputs[rest], parameters.precision)
    decision = chosen(logits, dish[rest], plates.present[rest])
    read = {"dataset_fingerprint": plates.fingerprint, "pixels_wide": plates.width}
    facts = {**outcome.facts(network, parameters), **read, "images": sizes(parts)}
    yield facts, Recogniser(network, parameters, names, plates.ingredients, decision)


def chosen(logits: Logits, dish: np.ndarray, present: np.ndarray) -> Decision:
    """Return temperatures, then thresholds of the calibrated probabilities, on validation data."""
    dishes, ingredients = logits.dishes.numpy(), logits.ingredients.numpy()
    cool = calibration.sigmoid_temperature(ingredients, present)
    calibrated = 1 / (1 + np.exp(-ingredients.astype(np.float64) / cool))
    limits = calibration.thresholds(calibrated, present)
    return Decision(calibration.temperature(dishes, dish), cool, limits.tolist())


if __name__ == "__main__":
    run_command(lambda: train(Parameters.from_command_line()))
