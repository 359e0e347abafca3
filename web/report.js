import { app } from "/scripts/app.js";
import { addPart, make } from "./parts/dom.js";

// Sampler shows its report in the node once it has run.

app.registerExtension({
  name: "varifold.report",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldSampler") return;
    const text = make("div", { class: "varifold-report", "aria-live": "polite" });
    const before = node.onExecuted;
    let part = null;
    node.onExecuted = function (message) {
      before?.call(this, message);
      const lines = message?.text ?? [];
      if (!lines.length) return;
      text.textContent = lines.join("\n");
      part ??= addPart(node, "varifold_report", text, 64);
      app.canvas.setDirty(true, true);
    };
  },
});
