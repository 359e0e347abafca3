import { app } from "/scripts/app.js";
import { widget } from "./graph.js";

// Of the `knobs` of a node shows those that are in use, and hides the others.
export function showUsed(node, knobs, used) {
  let changed = false;
  for (const name of knobs) {
    const knob = widget(node, name);
    if (!knob || knob.hidden === !used.includes(name)) continue;
    knob.hidden = !used.includes(name);
    changed = true;
  }
  if (changed) {
    const [width, height] = node.computeSize();
    node.setSize([Math.max(node.size[0], width), height]);
    app.graph.setDirtyCanvas(true, true);
  }
}
