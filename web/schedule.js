import { app } from "/scripts/app.js";
import { ask } from "./parts/ask.js";
import { Curve } from "./parts/curve.js";
import { addPart, settled } from "./parts/dom.js";
import { denoiserFile, values, watch, widget } from "./parts/graph.js";

// Noise Schedule draws its curve, from the numbers that Python makes, and hides the knobs that the curve does not use.

const KNOBS = ["sigma_max", "sigma_min", "rho", "betas", "zero_terminal_snr", "points"];

app.registerExtension({
  name: "varifold.schedule",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldSchedule") return;
    const curve = new Curve((points) => {
      const text = widget(node, "points");
      text.value = JSON.stringify(points);
      text.callback?.(text.value);
      app.canvas.setDirty(true);
    });
    addPart(node, "varifold_curve", curve.element, 190);
    const draw = settled(() => show(node, curve));
    watch(node, draw);
    draw();
  },
});

async function show(node, curve) {
  const widgets = values(node);
  const answer = await ask("schedule", { widgets, file: denoiserFile(node) }, `schedule ${node.id}`);
  if (!answer) return;
  curve.show(answer, widgets.curve === "drawn" ? parsed(widgets.points) : null);
  if (!answer.error) hide(node, answer.used);
}

function parsed(text) {
  try {
    const points = JSON.parse(text);
    return points.every(([position, sigma]) => position >= 0 && sigma > 0) ? points : null;
  } catch {
    return null;
  }
}

function hide(node, used) {
  let changed = false;
  for (const name of KNOBS) {
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
