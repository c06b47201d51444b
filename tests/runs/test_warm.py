"""A forked process is the one that would have been started, and it ends with who asked for it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studies.paths import REPOSITORY
from studies.runs import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

TELL = """
import json, os, sys, threading
modules = set(sys.modules)
import numpy, torch
from threadpoolctl import threadpool_info
own = {
    "arguments": sys.argv[1:], "name": __name__, "read": sys.stdin.read(),
    "folder": os.getcwd(), "found": sys.path[0],
    "environment": [os.environ.get(name) for name in ("MINE", "MPLBACKEND")],
    "torch": torch.get_num_threads(),
    "others": sorted({one["num_threads"] for one in threadpool_info()}),
}
forked = {
    "imported": "papermill" in modules, "gpu": torch.cuda._is_in_bad_fork(),
    "thread": threading.current_thread() is threading.main_thread(),
}
print(json.dumps([own, forked]))
print("complaint", file=sys.stderr)
sys.exit(7)
"""
WAIT = """
import os, sys, time
try:
    print(os.getpid(), os.getppid(), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


@pytest.fixture(scope="module", autouse=True)
def address():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(warm.ADDRESS, "")
        with warm.server():
            yield os.environ[warm.ADDRESS]


@pytest.fixture
def ask(tmp_path):
    """Return a function that starts a module, given as its code, through the client."""

    def start(code, *arguments, **environment):
        (tmp_path / "mine.py").write_text(code)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [*warm.COMMAND, "-m", "mine", *arguments]
        environment = {**os.environ, **environment}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **streams)

    return start


def running(pid):
    return Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in status(pid)


def status(pid):
    return Path(f"/proc/{pid}/status").read_text()


def gone(*pids, seconds=30):
    """Wait until processes are no more."""
    end = time.monotonic() + seconds
    while any(map(running, pids)):
        assert time.monotonic() < end, pids
        time.sleep(0.01)
    return True


def test_a_process_is_as_if_started_by_who_asks(ask, tmp_path):
    told = []
    for given in ({}, {warm.ADDRESS: str(tmp_path / "nowhere")}):
        process = ask(TELL, "a b", "-x", MINE="é", OMP_NUM_THREADS="2", **given)
        out, complaint = process.communicate("from stdin")
        assert (process.returncode, complaint) == (7, "complaint\n"), complaint
        told.append(json.loads(out))
    (forked, how), (started, otherwise) = told
    assert forked == started
    assert forked["arguments"] == ["a b", "-x"]
    assert (forked["folder"], forked["environment"]) == (str(tmp_path), ["é", None])
    assert (forked["read"], forked["torch"], forked["others"]) == ("from stdin", 2, [2])
    assert (how["imported"], otherwise["imported"]) == (True, False)
    assert how["thread"]
    assert not how["gpu"]


def test_nothing_but_one_thread_is_forked(ask):
    process = ask(WAIT)
    pid, server = map(int, process.stdout.readline().split())
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    process.kill()
    assert gone(pid)
    assert running(server)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 1, "interrupted\n"), (signal.SIGTERM, 128 + signal.SIGTERM, "")],
)
def test_signals_are_passed_on(ask, number, code, said):
    process = ask(WAIT)
    pid, _ = map(int, process.stdout.readline().split())
    process.send_signal(number)
    assert process.communicate()[1] == said
    assert process.returncode == code
    assert gone(pid)


def test_a_process_that_is_killed(ask):
    process = ask("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    process.communicate()
    assert process.returncode == 128 + signal.SIGKILL


def test_an_error_is_one_sentence(tmp_path):
    notebook = REPOSITORY / "notebooks" / "triplets" / "train.ipynb"
    command = [*warm.COMMAND, "-m", "studies.runs.notebooks", notebook, tmp_path / "o.ipynb"]
    done = subprocess.run([*command, "-p", "sed=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: command line: unknown parameter `sed`; did you mean `seed`?\n"


def test_a_server_that_dies(ask):
    process = ask(WAIT)
    pid, server = map(int, process.stdout.readline().split())
    os.kill(server, signal.SIGKILL)
    process.terminate()  # in vain, and no reason to begin anew
    assert "that all others are forked from died" in process.communicate()[1]
    assert process.returncode == 1
    assert gone(pid, server)
    assert ask("print('alone')").communicate() == ("alone\n", "")
