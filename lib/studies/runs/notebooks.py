"""Run a notebook with parameters, as papermill does, but refuse wrong ones before it starts.

`python -m studies.runs.notebooks IN.ipynb OUT.ipynb -f file.yaml -p name=value` does what
`papermill IN.ipynb OUT.ipynb -f file.yaml -p name value` does, with errors in one line.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from studies import paths
from studies.paths import StudyError, relative
from studies.runs import warm
from studies.runs.files import unwritable, write_atomic
from studies.runs.params import choice, notebook_defaults, read_given, schema, suggestion

ERROR = ".error"  # ending of the file beside a notebook that says why it failed


def execute(
    notebook: Path, output: Path, files: Sequence[Path] = (), overrides: Sequence[str] = ()
) -> None:
    """Run `notebook` with the values of `files`, then of `name=value` overrides, into `output`.

    Raises StudyError when a parameter is wrong, before a kernel starts, or when a cell fails; the
    sentence stays beside `output` until it is run again.
    """
    values = resolved(notebook, files, overrides)
    # papermill takes seconds to import: wrong parameters are told first
    import papermill
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from papermill.exceptions import PapermillExecutionError

    class Kernels(AsyncKernelManager):
        """Kernels of this environment, whatever else is called `python3`, forked if they can be."""

        @property
        def kernel_spec(self) -> KernelSpec:
            start = [*warm.COMMAND, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=start, language="python")

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(ERROR).unlink(missing_ok=True)
        papermill.execute_notebook(
            notebook,
            output,
            values,
            kernel_name="python3",
            kernel_manager_class=Kernels,
            language="python",
            progress_bar=False,
            stdout_file=Labelled(label(output), sys.stdout),
            stderr_file=Labelled(label(output), sys.stderr),
            # a kernel that is told to end calls that an error
            extra_arguments=[
                "--IPKernelApp.log_level=CRITICAL",
                "--InteractiveShell.colors=nocolor",
            ],
        )
        return
    except PapermillExecutionError as error:
        reason = error.evalue
        if error.ename != "StudyError":
            reason = f"{error.ename}: {reason}"
            Labelled(label(output), sys.stderr).write("\n".join(error.traceback))
        sentence = f"{reason} (cell {error.exec_count} of {relative(output)})"
    except RuntimeError:  # of nbclient when it dies at work, of jupyter_client before it is ready
        sentence = (
            f"{relative(output)}: the kernel died, perhaps for want of memory; the same command "
            "goes on from the last checkpoint"
        )
    except OSError as error:
        sentence = str(unwritable(Path(error.filename or output), error))
    with suppress(StudyError):
        write_atomic(output.with_suffix(ERROR), f"{sentence}\n")
    raise StudyError(sentence)


class Labelled:
    """A stream that begins each line with where it comes from: several notebooks share a log."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self.label, self.stream = label, stream

    def write(self, text: str) -> None:
        """Write the text, each of its lines labelled."""
        for line in filter(str.strip, text.splitlines()):
            self.stream.write(f"{self.label}  {line}\n")
        self.stream.flush()

    def flush(self) -> None:
        """Do nothing: every write is flushed."""


def label(output: Path) -> str:
    """Return how the log calls a notebook: its place below `runs/`."""
    folder = output.resolve().parent
    return str(folder.relative_to(paths.runs()) if paths.runs() in folder.parents else output)


def resolved(notebook: Path, files: Sequence[Path], overrides: Sequence[str]) -> dict[str, Any]:
    """Return what the notebook's parameters cell is to hold, checked.

    A notebook with the parameter `system` is one of a run: whatever else names its run, or what
    its files say, becomes `system` and `changes`.
    """
    known = notebook_defaults(notebook)
    of_run = schema(notebook.parent.name) if "system" in known else None
    values, origin = read_given(files, overrides)
    names = {**known, **(of_run.model_fields if of_run else {})}
    for name in values:
        if name not in names:
            nearest = suggestion(name, names)
            raise StudyError(f"{origin[name]}: unknown parameter `{name}`{nearest}")
    if of_run is None:
        return values
    values = {**{name: known[name] for name in ("dataset", "system", "seed")}, **values}
    of_run.from_names(values, "command line", origin)
    names = ("dataset", "system", "seed", "changes")
    return dict(zip(names, choice(of_run.study, values, "command line"), strict=True))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("-f", dest="files", action="append", type=Path, default=[])
    parser.add_argument("-p", dest="overrides", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    try:
        execute(options.notebook, options.output, options.files, options.overrides)
    except StudyError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # `make study` says one sentence for all its notebooks


if __name__ == "__main__":
    main()
