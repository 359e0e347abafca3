import { app } from "/scripts/app.js";
import { addPart, make } from "./parts/dom.js";
import { Review } from "./parts/review.js";

// Export Dataset tells what it did when it last ran, and shows the set's samples to be looked through.

app.registerExtension({
  name: "varifold.review",
  nodeCreated(node) {
    if (node.comfyClass !== "VarifoldExportDataset") return;
    const before = node.onExecuted;
    let text, review;
    node.onExecuted = function (message) {
      before?.call(this, message);
      const [folder] = message?.varifold_set ?? [];
      if (folder === undefined) return;
      if (!review) {
        text = make("div", { class: "varifold-report", tabindex: 0, "aria-live": "polite" });
        review = new Review();
        addPart(node, "varifold_review", make("div", { class: "varifold-review" }, text, review.element), 580);
      }
      text.textContent = message.text.join("\n");
      review.load(folder);
      app.canvas.setDirty(true, true);
    };
  },
});
