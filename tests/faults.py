"""`make faults`: nothing is lost, and nothing silently wrong, whatever happens to a run.

The studies are made on the dataset `tiny` and killed, crowded, left without room or without leave
to write, and their files damaged. The same command again must then end with the files of a run that
nothing disturbed, to the byte, or in one sentence whose advice leads to them. Prints a table of the
faults tried, survived and lost; the exit status is 0 when none is lost.

    python tests/faults.py --kills 20 --seed 0 --study triplets --only killed
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import psutil

from commands import Command
from studies.paths import REPOSITORY, StudyError
from studies.runs.files import duration
from studies.runs.folder import load_run

SYSTEMS = {  # of each study one that is trained
    "triplets": "flexible",
    "captioning": "resnet_transformer",
    "recipes": "two_networks",
    "relevance": "predictor",
}
RESULTS = ("metrics.json", "predictions.parquet", "items.json", "curves.csv", "model.safetensors")
ABOUT = ("params.yaml", "provenance.json")
DAMAGED = {  # by kind, files of a run and patterns of files in the root
    "checkpoint": ["checkpoint/last.ckpt"],
    "weights": ["model.safetensors"],
    "predictions": ["predictions.parquet"],
    "other results": ["items.json", "metrics.json", "curves.csv", *ABOUT],
    "cache": [f"cache/{one}" for one in ("kitchen*/**/*", "*/*.npy", "*/*.arrow", "writer*/*")],
}
KILLS = {  # how make study is killed: the signal, and the words in the command line of who gets it
    "all at once": (signal.SIGKILL, None),
    "make study": (signal.SIGKILL, ""),
    "kernel": (signal.SIGKILL, "ipykernel_launcher"),
    "job": (signal.SIGKILL, "studies.runs.notebooks"),
    "SIGTERM": (signal.SIGTERM, ""),
    "Ctrl-C": (signal.SIGINT, None),
}
PATIENCE = 300  # seconds for a command


class Lost(Exception):
    """What must not come of a fault."""


class Place:
    """A root with the cache of a study and all its runs; the looked-at one only where `done`."""

    def __init__(self, root: Path, reference: Path, study: str, *, done: bool) -> None:
        self.root, self.reference, self.study = root, reference, study
        self.system = SYSTEMS[study]
        if root != reference:
            for folder in ("cache", "runs"):
                shutil.copytree(reference / folder, root / folder)
        self.run = root / "runs" / "tiny" / study / self.system / "seed0"
        if not done:
            shutil.rmtree(self.run)

    def make(self, **environment: str) -> subprocess.Popen:
        """Start `make study` for the system."""
        asked = "DATASET=tiny", f"STUDY={self.study}", f"MODEL={self.system}", "JOBS=1"
        return subprocess.Popen(
            [sys.executable, "-m", "studies", *asked],
            cwd=REPOSITORY,
            env={**os.environ, "STUDIES_ROOT": str(self.root), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def make_again(self) -> None:
        """Give `make study` again, which must end well with the same results and report."""
        status, printed = ended(self.make())
        if status:
            raise Lost(f"the same command fails: {sentence(printed)}")
        self.compare(f"reports/tiny/{self.study}.csv")

    def score(self) -> tuple[int, str]:
        """Train and score the system where that is not done, as a machine without Jupyter does."""
        files = REPOSITORY / "params" / self.study / "tiny"
        given = "-f", files / "dataset.yaml", "-f", files / f"{self.system}.yaml", "-p", "seed=0"
        command = Command(self.root / "logs", self.root, f"studies.{self.study}.evaluate", *given)
        return command.wait(PATIENCE), command.out + command.err

    def compare(self, *others: str) -> None:
        """Refuse results that are not, to the byte, those of a run that nothing disturbed."""
        for name in (*(str(self.run.relative_to(self.root) / one) for one in RESULTS), *others):
            if not (self.root / name).exists():
                raise Lost(f"{name} is missing")
            if (self.root / name).read_bytes() != (self.reference / name).read_bytes():
                raise Lost(f"another {name}")
        if halves := list(self.run.rglob(".*.part")):
            raise Lost(f"{halves[0]} stays")


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """Return the exit status of a command and what it printed."""
    printed, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, printed


def sentence(printed: str) -> str:
    """Return the first sentence that says why a command failed; it must end in one."""
    told = [line for line in printed.splitlines() if line.strip()] or [""]
    if re.search("^Traceback", printed, re.M) or not re.match(r"error: |stopped; ", told[-1]):
        raise Lost(f"no sentence, but {printed[-1000:]!r}")
    return next((line for line in told if "error: " in line), told[-1])


def follow(advice: str) -> None:
    """Delete what a sentence says should be deleted."""
    file = Path(re.search(r"error: [^/]*(/[^:(]+?)(?=: | was made | cannot|$)", advice)[1])
    if "delete the files of its folder, but not checkpoint/" in advice:
        for one in file.parent.iterdir():
            if one.is_file():
                one.unlink()
    elif "delete the folder" in advice:
        shutil.rmtree(file)
    elif "delete it" in advice:
        file.unlink()
    else:
        raise Lost(f"no advice in {advice!r}")


# --- the faults: each raises Lost, or says in a few words how it was survived


def killed(how: str, share: float, seconds: dict[str, float], place: Place) -> str:
    """Kill `make study` after a share of the time that it takes, and give it again."""
    number, words = KILLS[how]
    when, process = share * seconds[place.study], place.make()
    began, leader = time.monotonic(), psutil.Process(process.pid)
    family: set[psutil.Process] = set()
    while process.poll() is None:
        family.update(leader.children(recursive=True))
        victims = [one for one in family if words and words in command_line(one)]
        if time.monotonic() - began >= when and (victims or not words):
            if words is None:
                os.killpg(process.pid, number)
            else:
                (victims or [leader])[0].send_signal(number)
            break
        time.sleep(0.05)
    status, printed = ended(process)
    if not status:
        shutil.rmtree(place.run)
        return killed(how, share / 2, seconds, place)
    if how in ("kernel", "job", "Ctrl-C") and "\nreport: " not in printed:  # had it not ended
        sentence(printed)
    _, alive = psutil.wait_procs(family, timeout=30)
    if alive:
        raise Lost(f"a process outlives it: {command_line(alive[0])}")
    place.make_again()
    return f"at {when:.1f} s"


def command_line(process: psutil.Process) -> str:
    """Return the command line of a process, nothing when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def crowded(place: Place) -> str:
    """Give the same command twice at once."""
    for process in [place.make(), place.make()]:
        status, printed = ended(process)
        if status:
            raise Lost(sentence(printed))
    place.make_again()
    return "both end well"


def filled(spare: int, variable: str, place: Place) -> str:
    """Leave a small disk so many bytes, of the root or for temporary files; then free it."""
    with nullcontext(place.root) if not variable else small_disk() as disk:
        with (disk / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(2**16))
            except OSError:
                file.truncate(max(0, file.tell() - spare))
        told = refused(place, "No space left", **({variable: str(disk)} if variable else {}))
        (disk / "ballast").unlink()
    place.make_again()
    return told


def read_only(folder: str, place: Place) -> str:
    """Take away the leave to write into a folder; give it back."""
    (place.root / folder).mkdir(parents=True, exist_ok=True)
    with mounted(place.root / folder, "--bind", str(place.root / folder)) as below:
        subprocess.run(["mount", "-o", "remount,bind,ro", below], check=True)
        told = refused(place, "ead-only")
    place.make_again()
    return told


def refused(place: Place, why: str, **environment: str) -> str:
    """Give the command where it may fail, but not without saying why."""
    status, printed = ended(place.make(**environment))
    if status and why not in sentence(printed):
        raise Lost(f"does not say why: {sentence(printed)}")
    return sentence(printed) if status else "ends well"


def damaged(name: str, how: str, chance: random.Random, place: Place) -> str:
    """Damage a file of a finished run, of a killed one, or of the cache."""
    files = place.root.glob(name) if name.startswith("cache") else [place.run / name]
    files = sorted(one for one in files if one.is_file())
    if name.startswith(("cache", "checkpoint")):
        for one in (*RESULTS, *ABOUT, "steps.csv"):
            (place.run / one).unlink(missing_ok=True)
    if name.startswith("cache"):
        shutil.rmtree(place.run / "checkpoint")
    spoil(chance.choice(files), how, chance)
    status, printed = place.score()
    told = sentence(printed) if status else "ends well"
    if status:
        follow(told)
        status, printed = place.score()
        if status:
            raise Lost(f"after {told!r}: {sentence(printed)}")
    place.compare()
    return told if "is made again" not in printed else "is made again"


def kept(name: str, how: str, chance: random.Random, place: Place) -> str:
    """Damage a file of evidence, and read all that a report reads."""

    def read() -> list[str]:
        run = load_run(folder)
        frames = run.curves.to_csv(), run.predictions.to_csv()
        return [str(one) for one in (run.params, run.metrics, run.items, run.provenance, *frames)]

    folder = place.root / "reports" / "tiny" / "evidence" / place.study / place.system / "seed0"
    shutil.copytree(place.run, folder)
    whole = read()
    spoil(folder / name, how, chance)
    try:
        if read() != whole:
            raise Lost(f"{name} is read as something else")
    except StudyError as error:
        return str(error)
    return "reads the same"


def spoil(file: Path, how: str, chance: random.Random) -> None:
    """Cut a file short, or turn over one of its bits."""
    content = bytearray(file.read_bytes())
    if how == "cut short":
        del content[chance.randrange(len(content)) :]
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


@contextmanager
def mounted(where: Path, *options: str) -> Iterator[Path]:
    """Mount something on a folder inside the block, which the superuser of Linux may."""
    subprocess.run(["mount", *options, where], check=True, capture_output=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


@contextmanager
def small_disk() -> Iterator[Path]:
    """Yield a folder with little room."""
    size = "-t", "tmpfs", "-o", "size=64m", "tmpfs"
    with tempfile.TemporaryDirectory() as folder, mounted(Path(folder), *size) as disk:
        yield disk


def faults(
    studies: list[str], kills: int, chance: random.Random, seconds: dict[str, float], done: Path
) -> Iterator[tuple[str, str, Callable[[Place], str], str]]:
    """Yield for each fault its kind, its study, what happens, and what its root is like."""
    for number in range(kills):
        turn, place = divmod(number, len(KILLS))
        how, study = [*KILLS][place], studies[(number + turn) % len(studies)]
        yield f"killed: {how}", study, partial(killed, how, chance.random(), seconds), ""
    for study in studies:
        yield "two at once", study, crowded, ""
        yield "disk full", study, partial(filled, chance.randrange(2**20), ""), "disk"
        yield "TMPDIR full", study, partial(filled, 0, "TMPDIR"), "mount"
        for folder in (f"runs/tiny/{study}/{SYSTEMS[study]}/seed0", chance.choice([".", "cache"])):
            yield "read-only folder", study, partial(read_only, folder), "mount"
        for how in ("cut short", "flipped bit"):
            for kind, names in DAMAGED.items():
                own = [name for name in names if "*" not in name or [*(done / study).glob(name)]]
                for name in own:
                    luck = random.Random(chance.random())
                    yield f"{kind}, {how}", study, partial(damaged, name, how, luck), "done"
                    if kind in ("predictions", "other results"):
                        yield f"evidence, {how}", study, partial(kept, name, how, luck), "done"


def mounts() -> bool:
    """Return whether small disks can be made here."""
    try:
        with small_disk():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def main() -> None:
    """Try every fault, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", choices=SYSTEMS, action="append")
    parser.add_argument("--only", default="", help="pattern of the kinds of fault to try")
    options = parser.parse_args()
    studies, seconds, counts, began = options.study or [*SYSTEMS], {}, Counter(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for study in studies:
            place = Place(Path(folder) / study, Path(folder) / study, study, done=True)
            for _ in range(2):  # the report of a tiny dataset makes all its systems; then the one
                shutil.rmtree(place.run, ignore_errors=True)
                start = time.monotonic()
                status, printed = ended(place.make())
                if status:
                    sys.exit(f"{study}: undisturbed, and fails: {printed[-1000:]}")
                seconds[study] = time.monotonic() - start
            print(f"{study}: undisturbed in {seconds[study]:.0f} s", flush=True)
        every = faults(studies, options.kills, random.Random(options.seed), seconds, Path(folder))
        asked = [fault for fault in every if re.search(options.only, fault[0])]
        possible = [fault for fault in asked if mounts() or fault[3] not in ("disk", "mount")]
        first = time.monotonic()
        for number, (kind, study, happens, needs) in enumerate(possible, 1):
            with small_disk() if needs == "disk" else tempfile.TemporaryDirectory() as root:
                try:
                    place = Place(Path(root), Path(folder) / study, study, done=needs == "done")
                    told = happens(place)
                except (Lost, subprocess.TimeoutExpired, AssertionError) as error:
                    told = f"LOST: {error}"
            counts[kind, told.startswith("LOST")] += 1
            left = duration((time.monotonic() - first) / number * (len(possible) - number))
            print(f"{number}/{len(possible)}  {kind}  {study}: {told} ({left} left)", flush=True)
    print("\n| fault | tried | survived | lost |\n|---|---|---|---|")
    for kind in dict.fromkeys(fault[0] for fault in asked):
        survived, lost = counts[kind, False], counts[kind, True]
        none = "" if survived + lost else " (needs a superuser of Linux)"
        print(f"| {kind}{none} | {survived + lost} | {survived} | {lost} |")
    lost = sum(count for (_, bad), count in counts.items() if bad)
    print(f"| **all** | {counts.total()} | {counts.total() - lost} | {lost} |")
    print(f"seed {options.seed}, {duration(time.monotonic() - began)}")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
