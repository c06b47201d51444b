"""Start-up is paid once: the processes of `make study` are forked from one that has imported.

`python -m studies` starts a server, which imports what notebooks need when the first of them asks
for it. This file, run by its path as `COMMAND -m MODULE ARGUMENT…`, asks the server for a process
and stands in for it: the process has this one's folder, environment and streams, gets the signals
this one gets, ends when this one ends, and this one ends with its exit status. Without a server it
becomes `python -m MODULE ARGUMENT…`, which does the same. The kernels are started in this way too.

A process that is asked for is a grandchild of the server: its parent waits for it and for signals.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# starts in milliseconds: nothing but the standard library
COMMAND = [sys.executable, "-I", "-S", os.path.abspath(__file__)]  # noqa: PTH100
ADDRESS = "STUDIES_WARM"  # environment variable: the server's socket
LARGEST = 2**20  # bytes of a request: arguments and environment
STUDIES = ("captioning", "triplets", "recipes", "relevance")
MODULES = (
    *(f"studies.{study}.{part}" for study in STUDIES for part in ("evaluate", "train", "report")),
    "studies.recipes.writers",
    "papermill",
    "nbconvert",
    "ipykernel.kernelapp",
    "matplotlib.pyplot",
    "torch._dynamo",  # which the first optimizer imports
)
# no thread survives a fork; every process is told its own number of them
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


@contextmanager
def server() -> Iterator[None]:
    """Offer processes to what is started inside the block, on Linux; else they start as always."""
    if sys.platform != "linux":  # elsewhere a process that has imported cannot be forked safely
        yield
        return
    # late, as one who asks needs neither
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="studies-") as folder:  # nobody else can enter it
        os.environ[ADDRESS] = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(os.environ[ADDRESS])
            listener.listen()
            command = [sys.executable, "-m", "studies.runs.warm"]
            process = subprocess.Popen(
                command, stdin=listener, env=os.environ | ONE_THREAD, start_new_session=True
            )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def end_with_parent() -> None:
    """Have the system kill this process when the one that started it ends."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def serve() -> None:
    """Fork a process for each who asks."""
    import gc
    import importlib

    end_with_parent()
    listener = socket.socket(fileno=os.dup(0))
    client, _ = listener.accept()
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
    while os.fork():
        client.close()
        client, _ = listener.accept()
    listener.close()
    end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, *_ = socket.recv_fds(client, LARGEST, 3)
    if process := os.fork():
        attend(client, process)
    client.close()
    become(json.loads(request), streams)
    end(run(sys.argv))


def attend(client: socket.socket, process: int) -> None:
    """Pass signals on to the process until it ends, then its exit status to who asked for it."""
    import select

    os.setpgid(process, process)
    ended = os.pidfd_open(process)
    while ended not in select.select([client, ended], [], [])[0]:
        # nothing comes from who has ended
        os.killpg(process, next(iter(client.recv(1)), signal.SIGKILL))
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        client.send(bytes([status if status >= 0 else 128 - status]))  # as a shell says it
    finally:
        os._exit(0)


def become(request: dict, streams: list[int]) -> None:
    """Take over arguments, folder, environment and streams of who asked."""
    import threadpoolctl
    import torch

    end_with_parent()
    os.setpgid(0, 0)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv, sys.path[0] = request["arguments"], request["folder"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if threads := int(os.environ.get("OMP_NUM_THREADS", 0)):
        torch.set_num_threads(threads)
        threadpoolctl.threadpool_limits(threads)


def run(arguments: list[str]) -> int:
    """Run a module as `python -m` does; return the exit status."""
    import runpy

    sys.modules.pop(arguments[0], None)
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def end(status: int) -> None:
    """End the process without taking thousands of modules apart."""
    import atexit

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def ask(arguments: list[str]) -> int:
    """Have the server run `-m MODULE ARGUMENT…`; return the exit status."""
    folder, environment = os.getcwd(), dict(os.environ)  # noqa: PTH109
    asked = {"folder": folder, "environment": environment, "arguments": arguments[1:]}
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        client.connect(os.environ[ADDRESS])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: client.send(bytes([number])))
        socket.send_fds(client, [json.dumps(asked).encode()], [0, 1, 2])
        end_with_parent()
        answer = client.recv(1)
    except (KeyError, OSError):  # no server, or one that takes no request
        os.execv(sys.executable, [sys.executable, *arguments])
    if answer:
        return answer[0]
    return "error: the process that all others are forked from died; give the same command again"


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(ask(sys.argv[1:]))
    serve()
