import { app } from "/scripts/app.js";
import { addPart, make } from "./parts/dom.js";

// Measure Dataset shows each measure as a bar, with what real pictures get beside real ones, once it has run.

app.registerExtension({
  name: "varifold.measures",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldMeasureDataset") return;
    const before = node.onExecuted;
    let measures = null;
    node.onExecuted = function (message) {
      before?.call(this, message);
      const told = message?.varifold_measures?.[0];
      if (!told) return;
      if (!measures) {
        measures = new Measures();
        addPart(node, "varifold_measures", measures.element, 290);
      }
      measures.show(told);
      app.canvas.setDirty(true, true);
    };
  },
});

class Measures {
  constructor() {
    this.table = make("table");
    this.notes = make("div", { class: "varifold-report", tabindex: 0, "aria-live": "polite" });
    this.element = make("div", { class: "varifold-measures" }, this.table, this.notes);
  }

  show({ figures, notes }) {
    const heads = ["measure", "made", "real"].map((name) => make("th", { scope: "col" }, name));
    this.table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), ...figures.map(rows));
    this.notes.textContent = notes.join("\n");
  }
}

function rows({ name, missing, made, real, share, floors }) {
  const head = make("th", { scope: "row" }, name);
  const below = (attributes, content) => make("tr", {}, make("td", { colspan: 3, ...attributes }, content));
  if (missing) return make("tbody", {}, make("tr", {}, head), below({ class: "missing" }, missing));
  const numbers = make("tr", {}, head, ...[made, real].map(digits));
  return make("tbody", {}, numbers, below({}, bar(share, floors)));
}

// A narrow node has no room for spreads: a pointer that rests on the number tells it.
function digits([value, spread]) {
  return make("td", { title: `${value} ± ${spread}` }, value, make("span", {}, ` ± ${spread}`));
}

function bar(share, [low, middle, high]) {
  return make(
    "svg",
    { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": true },
    make("rect", { class: "bar", y: 0.2, width: share, height: 0.6 }),
    make("rect", { class: "spread", x: low, width: high - low, height: 1 }),
    make("line", { class: "floor", x1: middle, x2: middle, y1: 0, y2: 1 }),
  );
}
