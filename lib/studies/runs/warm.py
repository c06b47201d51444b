"""Start-up is paid once: the processes of `make study` are forked from one that has imported.

`python -m studies` starts a server, which imports what notebooks need when the first of them asks
for it. This file, run by its path as `COMMAND -m MODULE ARGUMENT…`, asks the server for a process
and stands in for it: the process has this one's folder, environment and streams, gets the signals
this one gets, ends when this one ends, and this one ends with its exit status. Without a server it
becomes `python -m MODULE ARGUMENT…`, which does the same. The kernels are started in this way too.

A process that is asked for is a grandchild of the server: its parent waits for it and for signals.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

# starts in milliseconds: nothing but the standard library
COMMAND = [sys.executable, "-I", "-S", os.path.abspath(__file__)]  # noqa: PTH100
ADDRESS = "STUDIES_WARM"  # environment variable: the server's socket
LARGEST = 2**20  # bytes of a request: arguments, folder and environment
STUDIES = ("captioning", "triplets", "recipes", "relevance")
MODULES = (
    *(f"studies.{study}.{part}" for study in STUDIES for part in ("evaluate", "train", "report")),
    *("studies.recipes.writers", "papermill", "nbconvert", "ipykernel.kernelapp"),
    *("matplotlib.pyplot", "torch._dynamo"),  # which the first optimizer imports
)
SERVER = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as each kernel says
    # no thread survives a fork; every process is told its own number of them
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


@contextmanager
def server() -> Iterator[None]:
    """Offer processes to what is started inside the block, on Linux; else they start as always."""
    if sys.platform != "linux":  # elsewhere a process that has imported cannot be forked safely
        yield
        return
    # late, as who asks needs neither
    import subprocess
    import tempfile

    # nobody else can enter it; and the system takes no long path of a socket
    place = "/tmp" if len(tempfile.gettempdir()) > 64 else None
    with tempfile.TemporaryDirectory(prefix="studies-", dir=place) as folder:
        os.environ[ADDRESS] = f"{folder}/socket"
        command = [sys.executable, "-m", "studies.runs.warm"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(os.environ[ADDRESS])
            door.listen()
            process = subprocess.Popen(
                command, stdin=door, env=os.environ | SERVER, start_new_session=True
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
    """Fork a process for each who asks, pass signals on to it, and tell who asked how it ended."""
    end_with_parent()
    door = socket.socket(fileno=os.dup(0))
    select.select([door], [], [])  # where there is nothing to do, nothing is imported
    for module in MODULES:
        import_module(module)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes: dict[socket.socket, int] = {}  # by who asked
    clients: dict[int, socket.socket] = {}  # by a descriptor that can be read once a process ended
    while True:
        for one in select.select([*processes, *clients, door], [], [])[0]:
            if one in processes:  # nothing comes from who has ended
                os.killpg(processes[one], next(iter(one.recv(1)), signal.SIGKILL))
            elif one in clients:
                client = clients.pop(one)
                os.close(one)
                status = os.waitstatus_to_exitcode(os.waitpid(processes.pop(client), 0)[1])
                with client, suppress(OSError):  # it may have ended
                    client.send(bytes([status if status >= 0 else 128 - status]))  # as a shell says
            else:
                client, _ = door.accept()
                request, streams, *_ = socket.recv_fds(client, LARGEST, 3)
                process = os.fork()
                if not process:
                    become(streams, *json.loads(request))
                os.setpgid(process, process)
                for stream in streams:
                    os.close(stream)
                processes[client], clients[os.pidfd_open(process)] = process, client


def become(
    streams: list[int], arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """Do what `python -m ARGUMENT…` does with these streams in a folder and an environment."""
    from threadpoolctl import threadpool_limits

    end_with_parent()
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
    os.closerange(3, max(streams) + 1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0] = arguments, folder
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if threads := int(os.environ.get("OMP_NUM_THREADS", 0)):
        threadpool_limits(threads)
    atexit._clear()  # what the server would do at its end
    sys.modules.pop(arguments[0], None)
    status = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    # not as the interpreter does, which would take thousands of modules apart
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def ask(arguments: list[str]) -> int | str:
    """Have the server run `-m MODULE ARGUMENT…`; return the exit status, or what went wrong."""
    request = json.dumps([arguments[1:], os.getcwd(), dict(os.environ)])  # noqa: PTH109
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        client.connect(os.environ[ADDRESS])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: client.send(bytes([number])))
        socket.send_fds(client, [request.encode()], [0, 1, 2])
    except (KeyError, OSError):  # no server, or none that takes a request
        os.execv(sys.executable, [sys.executable, *arguments])
    end_with_parent()
    with suppress(OSError):
        if answer := client.recv(1):
            return answer[0]
    return "error: the process that all others are forked from died; give the same command again"


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(ask(sys.argv[1:]))
    serve()
