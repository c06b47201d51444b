"""What a reader sees: every notebook after Run All in JupyterLab, every page from a local file.

Screenshots are kept in `screenshots/`, for a person to look at.
"""

import ast
import importlib
import inspect
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from playwright.sync_api import Page, expect, sync_playwright

from studies.paths import REPOSITORY
from studies.reporting import publish
from tiny_runs import share

# a study's notebooks as a reader takes them: training comes first, and shows its progress
ORDER = ("train", "evaluate", "report", "judgements")
NOTEBOOKS = sorted(
    (REPOSITORY / "notebooks").glob("*/*.ipynb"),
    key=lambda file: (file.parent.name, ORDER.index(file.stem)),
)
STUDIES = sorted({notebook.parent.name for notebook in NOTEBOOKS})
SCREENSHOTS = REPOSITORY / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SETTINGS = {
    # no pop-up over the picture, no question to jupyter.org
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # all cells are in the page, also those far below the window
    "notebook-extension/tracker": {"windowingMode": "none"},
}
PATIENCE = 400  # seconds, for a busy machine


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where the notebooks work; METEOR, which takes 10 s a run, is kept for all of the session."""
    root = tmp_path_factory.mktemp("root")
    share(root, "captioning", {"resnet_lstm"})  # which a reader sees in training
    return root


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory, root):
    """A JupyterLab over a copy of the notebooks; yields its address and its token."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    for name, content in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={folder / 'notebooks'}", f"--IdentityProvider.token={token}"),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    variables = {
        "STUDIES_ROOT": root,
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "IPYTHONDIR": folder / "ipython",
    }
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, folder / "lab.log")
            yield f"http://127.0.0.1:{port}", token
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def wait_for(address: str, server: subprocess.Popen, log: Path, seconds: float = PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def draws(study: str, source: str) -> bool:
    """Return whether a cell ends in a call that always returns a figure."""
    *_, last = ast.parse(source).body or [None]
    if not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)):
        return False
    call = last.value.func
    if not isinstance(call, ast.Attribute) or getattr(call.value, "id", "") != "figures":
        return False
    function = getattr(importlib.import_module(f"studies.{study}.figures"), call.attr)
    return inspect.signature(function).return_annotation is Figure


@pytest.mark.parametrize(
    "notebook", NOTEBOOKS, ids=[f"{path.parent.name}-{path.stem}" for path in NOTEBOOKS]
)
def test_run_all_in_jupyterlab(notebook: Path, browser, lab):
    address, token = lab
    study = notebook.parent.name
    sources = [
        "".join(cell["source"])
        for cell in json.loads(notebook.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(1000 * PATIENCE)
    try:
        # a workspace of its own: the default one would open the other notebooks again
        workspace = f"{address}/lab/workspaces/{study}-{notebook.stem}"
        page.goto(f"{workspace}/tree/{study}/{notebook.name}?token={token}")
        run_all(page, len(sources))
        cells = page.locator(".jp-Notebook .jp-CodeCell")
        assert error_texts(page) == []
        prompts = [text.strip() for text in cells.locator(".jp-InputPrompt").all_inner_texts()]
        assert prompts == [f"[{number}]:" for number in range(1, len(sources) + 1)]
        for number, source in enumerate(sources):
            pictures = cells.nth(number).locator(".jp-OutputArea img, .jp-OutputArea svg")
            drawn = [box["width"] > 100 for one in pictures.all() if (box := one.bounding_box())]
            assert any(drawn) or not draws(study, source), source
        bars = page.locator(".jp-OutputArea .widget-hbox")
        for bar in bars.all():
            done, total = bar.inner_text().split("\n")[-1].split()[0].split("/")
            assert done == total, bar.inner_text()
        assert bars.count() or notebook.stem != "train"
        assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    finally:
        show_everything(page)
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{study}-{notebook.stem}.png")
        page.close()
        stop_kernels(address, token)


def run_all(page: Page, cells: int):
    """Choose Run > Run All Cells and wait until every cell has run and the kernel is idle."""
    # the circle in the toolbar is idle also while there is no kernel yet
    idle = page.locator(".jp-StatusBar-TextItem", has_text="| Idle")
    expect(idle).to_be_visible(timeout=60_000)
    page.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
    page.locator('.lm-Menu-itemLabel:text-is("Run All Cells")').click()
    page.wait_for_function(
        """cells => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
                .map(prompt => prompt.innerText.trim());
            return prompts.length === cells && (prompts.every(text => /^\\[\\d+\\]:$/.test(text))
                || document.querySelector('[data-mime-type="application/vnd.jupyter.error"]'));
        }""",
        arg=cells,
    )
    expect(idle).to_be_visible(timeout=60_000)
    page.wait_for_function("[...document.images].every(image => image.complete)")


def error_texts(page: Page) -> list[str]:
    """Return what cells wrote in red: tracebacks and warnings."""
    kinds = ("error", "stderr")
    boxes = ", ".join(f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in kinds)
    return page.locator(boxes).all_inner_texts()


def show_everything(page: Page):
    """Make the window as high as the notebook."""
    end = "document.querySelector('.jp-Notebook .jp-Cell:last-of-type')"
    outer = "document.querySelector('.jp-WindowedPanel-outer')"
    page.evaluate(f"{outer}.scrollTop = 0")
    height = page.evaluate(f"{end}.getBoundingClientRect().bottom")
    page.set_viewport_size({"width": 1400, "height": int(height) + 60})
    page.evaluate(f"{outer}.scrollTop = 0")


def stop_kernels(address: str, token: str):
    """Stop the kernels of a server: each holds its libraries in memory."""
    with urllib.request.urlopen(f"{address}/api/kernels?token={token}") as answer:
        kernels = json.load(answer)
    for kernel in kernels:
        place = f"{address}/api/kernels/{kernel['id']}?token={token}"
        urllib.request.urlopen(urllib.request.Request(place, method="DELETE")).close()


@pytest.fixture(scope="module")
def reports(browser, root):
    """The folder of the pages over runs of the tiny datasets: those of the notebooks, if any."""
    patch = pytest.MonkeyPatch()
    patch.setenv("STUDIES_ROOT", str(root))
    try:
        for study in publish.STUDIES:
            publish.publish("tiny", study)
        yield publish.write_index("tiny").parent
    finally:
        patch.undo()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["index", *publish.STUDIES])
def test_a_page_opens_from_a_file_and_asks_for_nothing_else(name, width, browser, reports):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(1000 * PATIENCE)
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto((reports / f"{name}.html").as_uri())
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"page-{name}-{width}.png", full_page=True)
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
        assert complaints == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").count() == 1
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        links = page.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        for link in links:
            target = link.startswith("#") and page.locator(link).count() == 1
            assert target or (reports / link).exists(), link
    finally:
        page.close()
