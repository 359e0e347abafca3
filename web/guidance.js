import { app } from "/scripts/app.js";
import { keepAsking } from "./parts/follow.js";
import { values } from "./parts/graph.js";
import { showUsed } from "./parts/knobs.js";

// Guidance hides the knobs that its method does not use.

const KNOBS = ["rescale", "strength", "eta", "norm_threshold", "momentum", "zero_init"];

app.registerExtension({
  name: "varifold.guidance",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldGuidance") return;
    showUsed(node, KNOBS, []);
    const question = () => ({ widgets: values(node) });
    keepAsking(node, "guidance", question, ({ used }) => showUsed(node, KNOBS, used ?? KNOBS));
  },
});
