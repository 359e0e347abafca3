import { app } from "/scripts/app.js";
import { addPart, make } from "./parts/dom.js";

// The nodes of data sets show what they told when they last ran.

const HEIGHTS = { VarifoldSweep: 48 };

app.registerExtension({
  name: "varifold.told",
  nodeCreated(node) {
    const height = HEIGHTS[node.comfyClass];
    if (!height) return;
    const before = node.onExecuted;
    let text = null;
    node.onExecuted = function (message) {
      before?.call(this, message);
      if (!message?.text?.length) return;
      if (!text) {
        text = make("div", { class: "varifold-report", tabindex: 0, "aria-live": "polite" });
        addPart(node, "varifold_told", text, height);
      }
      text.textContent = message.text.join("\n");
      app.canvas.setDirty(true, true);
    };
  },
});
