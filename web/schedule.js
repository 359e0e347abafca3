import { app } from "/scripts/app.js";
import { Curve } from "./parts/curve.js";
import { addPart } from "./parts/dom.js";
import { keepAsking } from "./parts/follow.js";
import { scheduleQuestion, values, widget } from "./parts/graph.js";
import { showUsed } from "./parts/knobs.js";

// Noise Schedule draws its curve, from the numbers that Python makes, and hides the knobs that the curve does not use.

const KNOBS = [
  ...["sigma_max", "sigma_min", "rho", "betas", "zero_terminal_snr", "points"],
  ...["alpha", "beta", "mu", "family", "coefficient", "width", "height"],
];

app.registerExtension({
  name: "varifold.schedule",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldSchedule") return;
    const curve = new Curve((points) => {
      const text = widget(node, "points");
      text.value = JSON.stringify(points.map(places(values(node)).drawn).map(rounded));
      text.callback?.(text.value);
      app.canvas.setDirty(true);
    });
    addPart(node, "varifold_curve", curve.element, 190);
    showUsed(node, KNOBS, []); // until it is known: a node that grows is less of a flash than one that shrinks
    keepAsking(node, "schedule", () => scheduleQuestion(node), (answer, { widgets }) => {
      // As they are by now: they may have been dragged on since the question.
      const points = widgets.curve === "drawn" ? parsed(widget(node, "points").value) : null;
      curve.show(answer, points?.map(places(widgets).shown) ?? null);
      showUsed(node, KNOBS, answer.used ?? KNOBS);
    });
  },
});

// Between a drawn point and its place on the curve: there the last step is to 0, the steps that `denoise` leaves out are
// to the left of 0, and `shift` has lifted σ.
function places({ steps, denoise, shift }) {
  const all = Math.floor(steps / denoise);
  const span = Math.max(1, all - 1);
  return {
    shown: ([position, sigma]) => [(position * span - all + steps) / steps, (shift * sigma) / (1 + (shift - 1) * sigma)],
    drawn: ([x, sigma]) => [(x * steps + all - steps) / span, sigma / (shift - (shift - 1) * sigma)],
  };
}

function rounded([position, sigma]) {
  return [Number(position.toFixed(4)), Number(sigma.toPrecision(5))];
}

function parsed(text) {
  try {
    const points = JSON.parse(text);
    return points.every(([position, sigma]) => position >= 0 && sigma > 0) ? points : null;
  } catch {
    return null;
  }
}
