"""Tables and figures that notebooks and reports show, from runs of known content."""

import numpy as np

from studies.recipes import data, figures
from studies.runs.folder import load_run

pytest_plugins = ["plates_made"]


class TestLook:
    def test_what_a_trained_system_says_or_the_one_that_a_prompt_asked(
        self, dinner, smallest, monkeypatch
    ):
        monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
        prompt = load_run(smallest("supervised").folder())
        run = load_run(smallest(prompt.provenance["perception"]).folder())
        eyes, parameters = run.model(), smallest(run.system)
        plates = data.read(parameters)
        test = data.split(plates, parameters) == "test"
        seen = eyes.see(data.inputs(plates, parameters)[test])
        shown = figures.look(run, 3).text.splitlines()
        assert len(shown) == 3
        for text, row in ((shown[0], 0), (shown[2], -1)):
            likely = seen.dishes[row]
            dish = eyes.dishes[int(np.argmax(likely))].replace("_", " ")
            assert text.startswith(f"{dish} {max(likely):.0%}:")
            named, shares = seen.named[row], seen.ingredients[row]
            best = max(np.flatnonzero(named), key=lambda s, p=shares: p[s])
            assert f": {eyes.ingredients[best]} {shares[best]:.0%}" in text
        assert figures.look(prompt, 3).text.splitlines() == shown
