"""The front end as its user has it: a mouse, a keyboard, and where on the screen things are."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, ElementHandle, Locator, Page, Request, Response

# What browser, front end and hosts say whatever the nodes; the rest of what is on the console is ours.
FOREIGN = {
    "ComfyApp graph accessed before initialization": "1.45.21 looks at its graph before it has one",
    "/favicon.ico": "Chromium asks for it where the page names no icon; no host of the front end has it",
    "/user.css": "the user's style sheet: ComfyUI answers 404 to those who have none",
    "/api/userdata?dir=": "ComfyUI answers 404 until there is something in the folder",
    "/api/userdata/workflows%2F.index.json": "the front end's bookmarks, which are only there once somebody set one",
    "/api/userdata/comfy.templates.json": "its node templates, which are only there once somebody saved one",
    "/templates/index": "ComfyUI's own templates are a package that the tests' install goes without",
    "Error loading core workflow templates": "for the same reason",
    "huggingface.co": "ComfyUI begins with a graph of its own, whose models the front end looks for",
}
Place = Sequence[float]

# Nodes are found by type: the graphs of these tests have one of each.
SCRIPT = """
window.varifoldTest = {
  node(type) {
    return window.app.graph.nodes.find((node) => node.type === type);
  },
  widget(type, name) {
    return this.node(type).widgets.find((widget) => widget.name === name);
  },
  screen([x, y]) {
    const canvas = window.app.canvas;
    const { left, top } = canvas.canvas.getBoundingClientRect();
    const [right, down] = canvas.ds.convertOffsetToCanvas([x, y]);
    return [left + right, top + down];
  },
  set(type, name, value) {
    const widget = this.widget(type, name);
    widget.value = value;
    widget.callback?.(value);
  },
  values(type) {
    const saved = this.node(type).widgets.filter((widget) => widget.options?.serialize !== false);
    return Object.fromEntries(saved.map((widget) => [widget.name, widget.value]));
  },
  is(type, name, value) {
    const now = this.widget(type, name).value;
    return typeof value === "number" ? Math.abs(now - value) < 1e-6 : now === value;
  },
  lookAt(type, scale) {
    const { ds, canvas } = window.app.canvas;
    const [x, y] = this.node(type).pos;
    ds.scale = scale;
    ds.offset = [canvas.clientWidth / scale / 3 - x, 150 / scale - y];
    window.app.canvas.setDirty(true, true);
  },
  row(type, name) {
    const node = this.node(type);
    return this.screen([node.pos[0] + node.size[0] / 2, node.pos[1] + this.widget(type, name).last_y + 10]);
  },
  slot(type, side, name) {
    const node = this.node(type);
    const index = node[`${side}s`].findIndex((slot) => slot.name === name);
    return this.screen(side === "input" ? node.getInputPos(index) : node.getOutputPos(index));
  },
  heard: [],
};
"""
EVENTS = [
    "execution_start",
    "execution_success",
    "execution_error",
    "execution_interrupted",
    "progress",
    "executed",
    "b_preview_with_metadata",
]
ENDS = ["execution_success", "execution_error", "execution_interrupted"]


class Editor:
    """One page of the front end. `complaints` are errors of the console, of the page and of its `requests`."""

    def __init__(self, page: Page, url: str):
        self.page, self.url = page, url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._drawn: list[dict] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.add_init_script(SCRIPT)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"page: {error}\n{error.stack}"))
        page.on("response", self._see)
        page.on("requestfinished", self._note)

    def _hear(self, message: ConsoleMessage) -> None:
        text, source = f"{message.text} ({message.location['url']})", message.location["url"]
        ours = "/extensions/" in source and "/extensions/core/" not in source
        serious = message.type == "error" or (message.type == "warning" and ours)
        if serious and not any(foreign in text for foreign in FOREIGN):
            self.complaints.append(f"console: {text}")

    def _see(self, response: Response) -> None:
        if response.status >= 400 and not any(foreign in response.url for foreign in FOREIGN):
            self.complaints.append(f"{response.status} {response.request.method} {response.url}")

    def _note(self, request: Request) -> None:
        if request.url.endswith("/varifold/schedule"):
            self._drawn.append(request.post_data_json["widgets"])

    def ask(self, expression: str, *arguments: Any) -> Any:
        """What a JavaScript expression in `t` (SCRIPT's helpers), `app` and `a` (the arguments) is."""
        return self.page.evaluate(_function(expression), list(arguments))

    def until(self, expression: str, *arguments: Any, seconds: float = 30) -> None:
        """Wait until the expression (as in `ask`) holds."""
        self.page.wait_for_function(_function(expression), arg=list(arguments), timeout=1000 * seconds)

    # Pages and files

    def open(self) -> None:
        """The page, loaded and at rest."""
        self.page.goto(self.url)
        self.ready()

    def reload(self) -> None:
        self.page.reload()
        self.ready()

    def ready(self) -> None:
        self.until("window.app?.vueAppReady && app.graph && app.extensionManager?.spinner === false", seconds=60)
        self.ask("a[0].forEach((kind) => app.api.addEventListener(kind, () => t.heard.push(kind)))", EVENTS)

    def load(self, path: Path) -> None:
        """Open a workflow from a file, by the field behind the menu's "Open"."""
        self.page.locator("#comfy-file-input").set_input_files(path)
        self.until("app.extensionManager.workflow.activeWorkflow?.filename.startsWith(a[0])", path.stem)
        self.until("!app.extensionManager.spinner && app.graph.nodes.length > 0")
        # Until then the front end takes no change for a user's, and saves none.
        self.until("!app.extensionManager.workflow.activeWorkflow.changeTracker.constructor.isLoadingGraph")
        self.drawn()

    def drop(self, path: Path) -> None:
        """Drop a picture on the canvas. Nobody can drag from a desktop here: the drag's events are sent."""
        content = base64.b64encode(path.read_bytes()).decode()
        self.page.evaluate(
            """async ([content, name]) => {
              const bytes = await (await fetch(`data:image/png;base64,${content}`)).blob();
              const dataTransfer = new DataTransfer();
              dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
              const canvas = window.app.canvas.canvas;
              const { left, bottom, width } = canvas.getBoundingClientRect();
              const place = { clientX: left + width / 2, clientY: bottom - 40, bubbles: true, cancelable: true };
              for (const kind of ["dragenter", "dragover", "drop"]) {
                canvas.dispatchEvent(new DragEvent(kind, { ...place, dataTransfer }));
              }
            }""",
            [content, path.name],
        )

    def graph(self) -> dict:
        """The graph as it would be saved."""
        return self.ask("app.graph.serialize()")

    def notices(self) -> list[str]:
        """The words of every dialog, toast and complaint that is on the page."""
        shown = self.page.locator("[role=dialog], [role=alertdialog], [data-testid=error-overlay], .p-toast-message")
        return [text for text in (each.inner_text().strip() for each in shown.all()) if text]

    def notice(self) -> str:
        """The words of the complaint that comes."""
        overlay = self.page.get_by_test_id("error-overlay")
        overlay.wait_for()
        return overlay.inner_text()

    # Where things are

    def drawn(self) -> None:
        """Wait until what has changed is on the screen."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def curve_follows(self) -> None:
        """Wait until the curve of the Noise Schedule is that of its widgets, which have changed since the last call."""
        # Asked first: while it is, an answer may come.
        while self.ask("t.values('VarifoldSchedule')") not in self._drawn:
            self.page.wait_for_event("requestfinished")
        self._drawn.clear()
        self.drawn()

    def look_at(self, type: str, scale: float = 1.0) -> None:
        """Bring a node to the left of the middle of the screen, at a zoom."""
        self.ask("t.lookAt(...a)", type, scale)
        self.drawn()

    def slot(self, type: str, side: str, name: str) -> list[float]:
        """Where on the screen an "input" or "output" is."""
        return self.ask("t.slot(...a)", type, side, name)

    def wired(self, type: str, name: str) -> str | None:
        """The type of the node that an input hangs on."""
        return self.ask("t.node(a[0]).getInputNode(t.node(a[0]).findInputSlot(a[1]))?.type ?? null", type, name)

    def value(self, type: str, name: str) -> Any:
        return self.ask("t.widget(...a).value", type, name)

    def set(self, type: str, **values: Any) -> None:
        """Widget values, put in place without mouse or keyboard: for what a test does not look at."""
        for name, value in values.items():
            self.ask("t.set(...a)", type, name, value)

    # What a user does

    def drag(self, start: Place, end: Place) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(*end, steps=6)
        mouse.up()
        self.drawn()

    def add(self, title: str, place: Place) -> None:
        """A node from the search, carried to a place on the screen."""
        before = self.ask("app.graph.nodes.length")
        field = self._search(place)
        field.fill(title)
        self.page.get_by_role("option", name=title).or_(self.page.get_by_text(f"{title} (Varifold)")).first.wait_for()
        self.page.keyboard.press("Enter")
        field.wait_for_element_state("hidden")
        self.until("app.graph.nodes.length === a[0]", before + 1)
        self.page.mouse.move(place[0] - 20, place[1] - 20)
        self.page.mouse.move(*place)
        self.drawn()
        self.page.mouse.click(*place)
        self.until("!app.graph.nodes.at(-1).flags.ghost")

    def _search(self, place: Place) -> ElementHandle:
        """The field of the search. On a busy machine two clicks may come too far apart to be a double click."""
        from playwright.sync_api import TimeoutError

        for patience in (2_000, 2_000, 20_000):
            self.page.mouse.dblclick(*place)
            with contextlib.suppress(TimeoutError):
                return self.page.wait_for_selector("input:focus", timeout=patience)
        raise AssertionError("the search did not open")

    def wire(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """Drag a link from an output to an input, each (type of node, name)."""
        self.drag(self.slot(source[0], "output", source[1]), self.slot(target[0], "input", target[1]))

    def choose(self, type: str, name: str, choice: str) -> None:
        """Pick from a list that the canvas draws."""
        self.page.mouse.click(*self.ask("t.row(...a)", type, name))
        self.page.locator(".litecontextmenu .litemenu-entry").get_by_text(choice, exact=True).click()
        self.until("t.widget(a[0], a[1]).value === a[2]", type, name, choice)

    def press_run(self) -> None:
        self.ask("(t.heard.length = 0)")
        self.page.get_by_test_id("queue-button").click()

    def heard(self) -> list[str]:
        """The kinds of messages of the run that was started, in order."""
        return self.ask("t.heard")

    def ended(self, seconds: float = 120) -> str:
        """How the run that was started ends."""
        self.until("t.heard.some((kind) => a[0].includes(kind))", ENDS, seconds=seconds)
        return next(kind for kind in self.heard() if kind in ENDS)

    def run(self) -> str:
        self.press_run()
        return self.ended()


def _function(expression: str) -> str:
    return f"(a) => {{ const t = window.varifoldTest; return {expression}; }}"


def center(locator: Locator) -> Place:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def contents(graph: dict) -> dict:
    """What each node is and says, and the wires."""
    nodes = {str(node["id"]): (node["type"], node.get("widgets_values") or []) for node in graph["nodes"]}
    links = {tuple(map(str, link[1:5])) for link in graph["links"]}
    return {"nodes": nodes, "links": links}
