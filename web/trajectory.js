import { app } from "/scripts/app.js";
import { Bars, ERROR } from "./parts/bars.js";
import { short } from "./parts/curve.js";
import { addPart, make } from "./parts/dom.js";
import { Player } from "./parts/player.js";

// Trace shows, once it has run, what the denoiser believed at each noise level, and what each answer counted for.

const WEIGHT =
  "How much each answer counts for in the picture; where that is the last answer alone, in the state it was made from (logarithmic)";

app.registerExtension({
  name: "varifold.trajectory",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldTrace") return;
    const before = node.onExecuted;
    let trajectory = null;
    node.onExecuted = function (message) {
      before?.call(this, message);
      const told = message?.varifold_trajectory?.[0];
      if (!told) return;
      if (!trajectory) {
        trajectory = new Trajectory();
        addPart(node, "varifold_trajectory", trajectory.element, 330);
      }
      trajectory.load(told);
      app.canvas.setDirty(true, true);
    };
  },
});

class Trajectory {
  constructor() {
    this.screen = make("canvas", { role: "img" });
    this.player = new Player((index) => this.show(index));
    const pick = (index) => this.player.step(index);
    this.weights = new Bars("weight", WEIGHT, 4, pick);
    this.errors = new Bars("error", ERROR, 2, pick);
    this.readout = make("output");
    const rows = [this.weights.element, this.errors.element, this.player.element];
    this.element = make("div", { class: "varifold-trajectory" }, this.screen, ...rows, this.readout);
  }

  load(told) {
    this.told = told;
    this.strip = new Image();
    this.strip.onload = () => this.player.load(told.sigmas.length, told.sigmas.length - 1);
    this.strip.src = told.strip;
  }

  show(index) {
    const { sigmas, evaluations, of, steps, weights, errors, solver } = this.told;
    const [width, height] = [this.strip.width / sigmas.length, this.strip.height];
    [this.screen.width, this.screen.height] = [width, height];
    this.screen.classList.toggle("sharp", Math.max(width, height) <= 64);
    this.screen.getContext("2d").drawImage(this.strip, index * width, 0, width, height, 0, 0, width, height);
    this.weights.show(weights, index);
    this.errors.show(errors, index);
    const weight = weights[index] === null ? "no weight" : `weight ${short(weights[index])}`;
    const error = errors[index] === null ? "no error told" : `error ${short(errors[index])}`;
    const text = `${solver}, evaluation ${evaluations[index]} of ${of} (step ${steps[index]}): σ ${short(sigmas[index])}`;
    this.readout.textContent = `${text}, ${weight}, ${error}`;
    this.screen.setAttribute("aria-label", this.readout.textContent);
  }
}
