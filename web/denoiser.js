import { app } from "/scripts/app.js";
import { short } from "./parts/curve.js";
import { addPart, make, settled } from "./parts/dom.js";
import { watch, widget } from "./parts/graph.js";
import { factsOf } from "./parts/words.js";

// Load Denoiser shows what is in its file, and its words to look through, or where it knows none the report on it.

app.registerExtension({
  name: "varifold.denoiser",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldLoadDenoiser") return;
    let words = [];
    const title = make("div", { class: "title" });
    const list = make("div", { class: "varifold-words list", tabindex: 0, "aria-label": "words" });
    const filter = make("input", { type: "search", placeholder: "find a word", oninput: () => show() });
    const report = make("div", { class: "varifold-about" });
    addPart(node, "varifold_facts", make("div", { class: "varifold-facts" }, title, filter, list, report), 150);

    function show() {
      const wanted = filter.value.trim().toLowerCase();
      const found = words.filter((word) => word.includes(wanted));
      list.replaceChildren(...found.map((word) => make("span", { class: "known" }, word)));
    }

    const load = settled(async () => {
      const facts = await factsOf(widget(node, "file").value);
      title.className = facts.error ? "title unknown" : "title";
      title.textContent = facts.error ?? summary(facts);
      title.title = facts.report ?? "";
      words = facts.words ?? [];
      filter.hidden = list.hidden = words.length === 0;
      report.hidden = words.length > 0;
      report.textContent = facts.report ?? "";
      show();
    });
    watch(node, load);
    load();
  },
});

function summary({ title, shape, sigma_min, sigma_max, words }) {
  const [channels, height, width] = shape;
  const known = words.length ? `, ${words.length} words` : "";
  return `${title || "untitled"}: ${width}×${height}, ${channels} channels, σ ${short(sigma_min)} to ${short(sigma_max)}${known}`;
}
