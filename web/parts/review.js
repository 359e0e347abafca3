import { ask } from "./ask.js";
import { make } from "./dom.js";
import { nameOf, Samples } from "./samples.js";

// Looking through a set: a page of samples, and what can be decided about the chosen one.

const CHIPS = 24;
let asked = 0;

export class Review {
  constructor() {
    this.samples = new Samples({
      choose: () => this.tell(),
      pick: (object) => this.pick(object),
      turn: (by, last) => this.page + by >= 0 && this.page + by < this.pages && this.turn(this.page + by, last),
      judge: () => this.judge(),
      name: () => this.label.focus(),
    });
    this.standing = make("output");
    this.earlier = button("‹", "Newer samples (Page Up)", () => this.turn(this.page - 1));
    this.later = button("›", "Older samples (Page Down)", () => this.turn(this.page + 1));
    const go = () => this.turn(this.number.value - 1);
    this.number = make("input", { type: "number", min: 1, "aria-label": "page", onchange: go });
    this.last = make("span");
    const pages = make("div", { class: "varifold-bar" }, this.standing, this.earlier, this.number, this.last, this.later);

    this.about = make("output", { "aria-live": "polite" });
    this.verdict = button("", "Delete key", () => this.judge());
    const judging = make("div", { class: "varifold-bar" }, this.about, this.verdict);

    this.things = make("select", { "aria-label": "what to relabel", onchange: () => this.point() });
    this.label = make("input", {
      "aria-label": "new label",
      placeholder: "another label: write, or choose below",
      oninput: () => this.offer(),
      onkeydown: (event) => {
        if (event.key === "Enter" && !event.isComposing) this.relabel(this.label.value);
        if (event.key === "Escape") this.samples.focus();
      },
    });
    this.give = button("Relabel", "Enter key", () => this.relabel(this.label.value));
    const naming = make("div", { class: "varifold-bar naming" }, this.things, this.label, this.give);
    this.chips = make("div", { class: "varifold-words chips" });

    this.status = make("output", { "aria-live": "polite" });
    this.again = button("Rebuild", "Build these formats again from the ledger", () => this.rebuild());
    const foot = make("div", { class: "varifold-bar" }, this.status, this.again);
    this.element = make("div", { class: "varifold-review" }, pages, this.samples.element, judging, naming, this.chips, foot);
    // What is pressed in it is not for the canvas, which would delete the node.
    this.element.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    });
    this.again.hidden = true;
    [this.page, this.pages, this.labels] = [0, 1, []];
    this.done = Promise.resolve();
    this.tell();
    this.subject = `review ${(asked += 1)}`;
  }

  load(folder) {
    this.folder = folder;
    this.turn(0);
  }

  // Shows another page, and chooses its last sample if it is asked to, else the first.
  turn(page, last = false) {
    this.page = Math.trunc(page) || 0;
    const question = { folder: this.folder, page: this.page };
    this.inTurn(async () => {
      const answer = await ask("review", question, this.subject);
      if (!this.understood(answer)) return;
      [this.page, this.pages] = [answer.page, answer.pages];
      [this.number.value, this.number.max, this.last.textContent] = [answer.page + 1, answer.pages, `of ${answer.pages}`];
      this.earlier.disabled = answer.page === 0;
      this.later.disabled = answer.page === answer.pages - 1;
      this.samples.show(answer.samples, last ? answer.samples.length - 1 : 0);
      this.stand(answer);
    });
  }

  judge() {
    this.decide((sample) => [sample.rejected === null ? "reject" : "restore", {}]);
  }

  relabel(label) {
    const more = { label, ...JSON.parse(this.things.value || "{}") };
    const written = this.label.value;
    this.samples.focus();
    this.decide(() => ["relabel", more], () => {
      if (this.label.value === written) this.label.value = "";
    });
  }

  // Decides on the chosen sample, once what was decided before is known: verdict(sample) gives what, and how.
  decide(verdict, then = () => {}) {
    const { chosen } = this.samples;
    if (!chosen) return;
    this.inTurn(async () => {
      const [name, more] = verdict(this.samples.find(chosen.id) ?? chosen);
      const answer = await ask(name, { folder: this.folder, id: chosen.id, ...more }, this.subject);
      if (!this.understood(answer)) return;
      then();
      this.samples.change(answer.sample);
      this.stand(answer);
    });
  }

  rebuild() {
    this.inTurn(async () => {
      this.say("building…");
      this.again.disabled = true;
      const answer = await ask("rebuild", { folder: this.folder }, this.subject);
      this.again.disabled = false;
      if (this.understood(answer)) this.stand(answer);
    });
  }

  // One question after the other, so that none overtakes one before.
  inTurn(act) {
    this.done = this.done.then(act);
  }

  understood(answer) {
    if (answer?.error) this.say(answer.error, true);
    return answer && !answer.error;
  }

  say(words, wrong = false) {
    this.status.textContent = words;
    this.status.classList.toggle("error", wrong);
  }

  // What is known of the set, in words.
  stand({ live, rejected, labels, wanting, outdated }) {
    this.labels = labels;
    const wanted = wanting.map(([name, count]) => `${count} ${name}`).join(", ");
    this.standing.textContent = `${live} in the set, ${rejected} rejected${wanted && `, still wanted: ${wanted}`}`;
    this.again.hidden = outdated.length === 0;
    this.say(outdated.length ? `out of date: ${outdated.join(", ")}` : "");
    this.tell();
  }

  // What is known of the chosen sample, and what it may be called.
  tell() {
    const { chosen } = this.samples;
    const parts = chosen ? [nameOf(chosen), chosen.split, chosen.rejected && `rejected, ${chosen.rejected}`] : ["no samples"];
    this.about.textContent = parts.filter(Boolean).join(" · ");
    this.verdict.disabled = this.label.disabled = this.give.disabled = !chosen;
    this.verdict.textContent = chosen?.rejected ? "Restore" : "Reject";
    const before = chosen?.id === this.told ? this.things.value : "";
    const things = chosen ? thingsOf(chosen) : [];
    const options = things.map(([text, thing]) => make("option", { value: JSON.stringify(thing) }, text));
    this.things.replaceChildren(...options);
    if (options.some((option) => option.value === before)) this.things.value = before;
    this.things.hidden = options.length < 2;
    this.told = chosen?.id;
    this.point();
    this.offer();
  }

  pick(object) {
    this.things.value = JSON.stringify({ object });
    if (this.things.selectedIndex < 0) this.things.selectedIndex = 0; // the only object is all there is
    this.point();
  }

  // Shows in the picture which objects are meant, where there is a choice.
  point() {
    const { was, object } = JSON.parse(this.things.value || "{}");
    const objects = this.things.hidden ? [] : this.samples.chosen.objects;
    const meant = objects.map((each, number) => number).filter((number) => number === object || objects[number].label === was);
    this.samples.point(meant);
  }

  // Labels of the set that contain what is being written.
  offer() {
    const begun = this.label.value.trim().toLowerCase();
    const fits = this.labels.filter((label) => label.toLowerCase().includes(begun)).slice(0, CHIPS);
    this.chips.replaceChildren(...fits.map((label) => button(label, label, () => this.relabel(label))));
  }
}

function button(text, title, onclick) {
  return make("button", { type: "button", title, onclick }, text);
}

// What of a sample may get another label, in words and as a question.
function thingsOf({ label, objects }) {
  const labels = new Set([label, ...objects.map((object) => object.label)].filter((each) => each !== null));
  if (labels.size === 0) return [["the picture", {}]];
  const all = [...labels].map((was) => [`all ${was}`, { was }]);
  const each = objects.map((object, number) => [`object ${number + 1}: ${object.label}`, { object: number }]);
  return objects.length > 1 ? [...all, ...each] : all;
}
