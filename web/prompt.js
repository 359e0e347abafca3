import { app } from "/scripts/app.js";
import { ask } from "./parts/ask.js";
import { addPart, settled } from "./parts/dom.js";
import { denoiserFile, watch, widget } from "./parts/graph.js";
import { factsOf, Words, written } from "./parts/words.js";

// Prompt shows which of its words the denoiser knows, before the run, and completes the one being written.

app.registerExtension({
  name: "varifold.prompt",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldPrompt") return;
    const text = widget(node, "text");
    let before = text.value ?? "";
    let place = null; // where somebody wrote last
    const words = new Words((start, end, word) => {
      text.value = `${text.value.slice(0, start)}${word}${text.value.slice(end)}`;
      text.callback?.(text.value);
      app.canvas.setDirty(true);
    });
    addPart(node, "varifold_words", words.element, 62);
    const read = settled(async () => {
      const file = denoiserFile(node);
      const now = String(text.value ?? "");
      if (now !== before) place = written(before, now);
      before = now;
      if (file === null) {
        words.show({ hint: "wire a Load Denoiser to see which words it knows" });
        return;
      }
      const reading = await ask("prompt", { file, text: now }, `prompt ${node.id}`);
      if (!reading) return;
      words.show(reading);
      words.offer(place, (await factsOf(file)).words ?? []);
    }, 150);
    watch(node, read);
    read();
  },
});
