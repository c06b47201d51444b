"""The plates are frozen, each the same whatever else is drawn, and tell their variants apart."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict

import kitchen

DIGEST = "2cba5d4b188918de98d3d458f08f0c6f0cc1fa84b2cbaa92f1188b0b3df0cbe3"


def test_the_plates_are_frozen():
    plates = [asdict(plate) for plate in kitchen.plates(5)]
    assert hashlib.sha256(json.dumps(plates).encode()).hexdigest() == DIGEST


def test_a_plate_depends_on_its_number_and_seed_only():
    few, many, other = kitchen.plates(2), kitchen.plates(9), kitchen.plates(9, seed=1)
    assert set(few) < set(many)
    assert len({plate.file for plate in many}) == len(many)
    assert not {plate.seed for plate in many} & {plate.seed for plate in other}


def test_rare_variants_have_fewer_plates():
    counts = Counter(plate.variant for plate in kitchen.plates(60))
    assert sorted(counts.values()) == [30, 42, 42, 42, 42] + [60] * 19


def test_ingredients_vary_but_tell_the_variants_apart():
    pairs = {(plate.variant, frozenset(plate.ingredients)) for plate in kitchen.plates(40)}
    assert min(Counter(variant for variant, _ in pairs).values()) > 1
    assert len({ingredients for _, ingredients in pairs}) == len(pairs)
    assert frozenset.union(*(ingredients for _, ingredients in pairs)) == {*kitchen.INGREDIENTS}


PROGRAM = """if True:
    import hashlib, sys, kitchen
    for plate in kitchen.plates(2)[:: int(sys.argv[1])]:
        pixels = hashlib.sha256(kitchen.draw(plate).tobytes()).hexdigest()
        print([pixels, kitchen.captions(plate), kitchen.recipe(plate), kitchen.web(plate)])
    print([name for name in sys.modules if name.startswith("studies")])"""


def test_all_is_the_same_in_another_process_and_order_and_without_the_studies():
    lines = []
    for order, salt in (("1", "1"), ("-1", "7")):
        command = [sys.executable, "-c", PROGRAM, order]
        environment = {"PYTHONHASHSEED": salt, "PYTHONPATH": ":".join(sys.path)}
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
        lines.append(output.decode().splitlines())
        assert lines[-1].pop() == "[]"
    assert lines[0] == lines[1][::-1]
