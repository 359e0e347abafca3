import { app } from "/scripts/app.js";
import { Bars } from "./parts/bars.js";
import { short } from "./parts/curve.js";
import { addPart, make } from "./parts/dom.js";
import { widget } from "./parts/graph.js";

// Fit Schedule shows what it gained and what other numbers of steps would give, and keeps what it found in the workflow.

const ABOUT = "How far fits of other numbers of steps end from a fine run, the median of unseen starts (logarithmic)";

app.registerExtension({
  name: "varifold.fit",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldFitSchedule") return;
    const before = node.onExecuted;
    let shown = null;
    node.onExecuted = function (message) {
      before?.call(this, message);
      const [found] = message?.varifold_fit ?? [];
      if (!found) return;
      const kept = widget(node, "fitted");
      kept.value = found;
      kept.callback?.(found);
      if (!shown) {
        shown = new Gain();
        addPart(node, "varifold_gain", shown.element, 210);
      }
      shown.show(message.text, message.varifold_curve[0]);
      app.canvas.setDirty(true, true);
    };
  },
});

class Gain {
  constructor() {
    this.text = make("div", { class: "varifold-report", "aria-live": "polite" });
    this.bars = new Bars("error", ABOUT, 2, (index) => this.tell(index));
    this.readout = make("output");
    this.element = make("div", { class: "varifold-prompt" }, this.text, this.bars.element, this.readout);
  }

  show(lines, curve) {
    this.text.textContent = lines.join("\n");
    this.curve = curve;
    this.tell(0);
  }

  tell(index) {
    this.bars.show(this.curve.map(([, error]) => error), index);
    const [steps, error] = this.curve[index];
    this.readout.textContent = `${steps} steps: median error ${short(error)}`;
  }
}
