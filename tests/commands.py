"""Commands in processes of their own, as a shell starts them, but forked from a warm one.

Importing torch takes seconds on a small machine. A fork server pays them once; each command
is then a fresh process with an environment, an exit code and streams of its own, and can be killed.
"""

import multiprocessing
import os
import re
import runpy
import signal
import sys
import time
from pathlib import Path

# arguments end with a file name, n and a module: runs it, and the disk is full in the middle of
# the n-th writing of a file of that name
FULL = """
import errno, os, pathlib, runpy, sys
module, number, name = sys.argv.pop(), int(sys.argv.pop()), sys.argv.pop()
write, written = pathlib.Path.write_bytes, []
def full(file, content):
    written.append(file.name)
    if sum(other.startswith(f".{name}.") for other in written) < number:
        return write(file, content)
    write(file, content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
pathlib.Path.write_bytes = full
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["studies.learning.fit", "studies.triplets.model", "sklearn.manifold"]
)


class Command:
    """A running command; `STUDIES_ROOT` is `root`, and its streams go to files below `logs`."""

    def __init__(self, logs: Path, root: Path, module: str, *arguments: object, code: str = ""):
        logs.mkdir(parents=True, exist_ok=True)
        number = len(list(logs.glob("*.out")))
        self.files = logs / f"{number}.out", logs / f"{number}.err"
        for file in self.files:
            file.touch()
        given = module, [str(a) for a in arguments], code, str(root), *map(str, self.files)
        self.process = CONTEXT.Process(target=begin, args=given, daemon=True)
        self.process.start()

    @property
    def out(self) -> str:
        return self.files[0].read_text()

    @property
    def err(self) -> str:
        return self.files[1].read_text()

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        if self.running:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    @property
    def epochs(self) -> int:
        """Return how many epochs the command said it had done."""
        return max((int(n) for n in re.findall(r"^epoch (\d+)/", self.out, re.M)), default=0)

    def wait(self, seconds: float = 300) -> int:
        """Return the exit code."""
        self.process.join(seconds)
        if self.running:
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.out}{self.err}")
        return self.process.exitcode

    def finish(self) -> str:
        """Wait for a success without complaints; return what was printed."""
        assert self.wait() == 0, self.err
        assert self.err == ""
        return self.out

    def until(self, condition, seconds: float = 300) -> bool:
        """Wait for a condition; return False when the command ended without it."""
        end = time.monotonic() + seconds
        while not condition():
            if not self.running:
                return condition()
            assert time.monotonic() < end, f"waited in vain:\n{self.out}{self.err}"
            time.sleep(0.001)
        return True


def begin(module: str, arguments: list[str], code: str, root: str, out: str, err: str) -> None:
    """Become the command, in the forked process."""
    os.environ["STUDIES_ROOT"] = root
    # a job in the background inherits that Ctrl-C is ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.argv = [module, *arguments]
    if code:
        exec(compile(code, "code", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
