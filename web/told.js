import { app } from "/scripts/app.js";
import { addPart, make } from "./parts/dom.js";

// Nodes that tell in words what they did show it in the node, once they have run.

const HEIGHTS = {
  VarifoldSweep: 48,
  VarifoldPictures: 84,
  VarifoldTrainDenoiser: 66,
  VarifoldTrainAutoencoder: 66,
  VarifoldTrainGAN: 66,
  VarifoldGenerate: 48,
  VarifoldCompareModels: 150,
  VarifoldExplain: 120,
  VarifoldForwardProcess: 84,
};

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
