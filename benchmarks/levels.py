"""Time of the flexible margin by the number of label levels, against one margin on the classes.

Loss and gradient, two images a class, one thread, processor time, medians of interleaved rounds;
brackets hold 95 % intervals of the ratio.
"""

import numpy as np
from lines import heading, line

from studies.triplets.audit import levels

ROUNDS = {162: 41, 512: 15}


def main() -> None:
    """Print one line a batch size and number of levels."""
    for batch, rounds in ROUNDS.items():
        heading(f"flexible margin by levels of labels, B = {batch}, against a plain margin")
        table = levels(batch=batch, rounds=rounds)
        for row in table.itertuples():
            plain = row.milliseconds / row.ratio
            what = f"{row.levels} levels [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
            line(what, f"{row.milliseconds:.1f} ms", f"{plain:.1f} ms", row.ratio)
        slope = np.polyfit(table["levels"], table["ratio"], 1)[0]
        print(f"each further level adds {100 * slope:.0f} % of the plain margin's time", flush=True)


if __name__ == "__main__":
    main()
