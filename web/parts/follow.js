import { app } from "/scripts/app.js";
import { ask } from "./ask.js";
import { settled } from "./dom.js";
import { watch } from "./graph.js";

// Questions whose answer depends on other nodes too: asked again as soon as their wording changes.

const followers = new Map();

app.registerExtension({
  name: "varifold.follow",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Varifold")) return;
    watch(node, () => followers.forEach((act) => act()));
  },
});

// Asks `name` with what question() gives, now and whenever a node of this pack has changed, until the node is removed.
export function keepAsking(node, name, question, show) {
  let asked = null;
  const act = settled(async () => {
    const now = question();
    const wording = JSON.stringify(now);
    if (wording === asked) return;
    asked = wording;
    const answer = await ask(name, now, `${name} ${node.id}`);
    if (!answer) return;
    if (answer.error) asked = null;
    show(answer, now);
  });
  followers.set(node, act);
  const removed = node.onRemoved;
  node.onRemoved = function (...args) {
    followers.delete(node);
    return removed?.apply(this, args);
  };
  act();
}
