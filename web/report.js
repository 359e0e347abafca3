import { app } from "/scripts/app.js";
import { Bars, ERROR } from "./parts/bars.js";
import { short } from "./parts/curve.js";
import { addPart, make } from "./parts/dom.js";

// Sampler shows its report in the node once it has run, and how exact each step was.

app.registerExtension({
  name: "varifold.report",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldSampler") return;
    const before = node.onExecuted;
    let report = null;
    node.onExecuted = function (message) {
      before?.call(this, message);
      if (!message?.text?.length) return;
      if (!report) {
        report = new Report();
        addPart(node, "varifold_report", report.element, 150);
      }
      report.show(message.text, message.varifold_errors ?? []);
      app.canvas.setDirty(true, true);
    };
  },
});

class Report {
  constructor() {
    this.text = make("div", { class: "varifold-report", tabindex: 0, "aria-live": "polite" });
    this.bars = new Bars("error", ERROR, 2, (step) => this.tell(step));
    this.readout = make("output");
    this.element = make("div", { class: "varifold-prompt" }, this.text, this.bars.element, this.readout);
  }

  show(lines, errors) {
    this.text.textContent = lines.join("\n");
    this.errors = errors;
    const told = errors.some((error) => error !== null);
    this.bars.element.hidden = this.readout.hidden = !told;
    if (told) this.tell(errors.indexOf(Math.max(...errors)));
  }

  tell(step) {
    this.bars.show(this.errors, step);
    const error = this.errors[step];
    this.readout.textContent = `step ${step + 1}: ${error === null ? "no error told" : `local error ${short(error)}`}`;
  }
}
