import { app } from "/scripts/app.js";
import { addPart } from "./parts/dom.js";
import { Flow } from "./parts/flow.js";
import { keepAsking } from "./parts/follow.js";
import { denoiserTargets, scheduleQuestion, source, values, widget } from "./parts/graph.js";

// Toy Denoiser shows its points flow from noise to data, with the schedule and the solver that are wired to it.

app.registerExtension({
  name: "varifold.toy",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldToy") return;
    const flow = new Flow();
    addPart(node, "varifold_flow", flow.element, 330);
    node.setSize([Math.max(node.size[0], 330), node.computeSize()[1]]);
    keepAsking(node, "toy", () => question(node), (answer, { schedule }) => flow.show(answer, caption(node, schedule)));
  },
});

// The sampler that the denoiser goes to, the schedule and the solver that are wired to it.
function wired(node) {
  const targets = denoiserTargets(node);
  const of = (name) => targets.find((target) => target.comfyClass === name);
  const sampler = of("VarifoldSampler");
  const levels = sampler ? source(sampler, "sigmas") : of("VarifoldSchedule");
  return { sampler, levels, solver: sampler && source(sampler, "sampler") };
}

function question(node) {
  const { sampler, levels, solver } = wired(node);
  const chosen = solver?.comfyClass === "VarifoldSolver" ? values(solver) : { solver: widget(sampler ?? node, "solver")?.value };
  return {
    widgets: values(node),
    schedule: levels?.comfyClass === "VarifoldSchedule" ? scheduleQuestion(levels) : null,
    solver: sampler ? chosen : null,
    seed: sampler ? widget(sampler, "seed").value : 0,
  };
}

function caption(node, schedule) {
  const { levels } = wired(node);
  if (schedule) return schedule.widgets.curve;
  return levels ? `karras in place of ${levels.title}` : "karras (no schedule is wired)";
}
