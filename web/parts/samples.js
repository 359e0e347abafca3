import { make } from "./dom.js";

// A page of samples, one of which is chosen: by mouse, finger or arrow keys.

const COLUMNS = 4; // as in style.css

export class Samples {
  // hooks: choose() and pick(object) tell of what was clicked, turn(by, last) asks for another page, judge() and
  // name() for what the keys Delete and Enter mean.
  constructor(hooks) {
    this.hooks = hooks;
    this.list = [];
    this.index = -1;
    this.element = make("div", {
      class: "varifold-samples",
      role: "listbox",
      tabindex: 0,
      "aria-label": "samples",
      title: "Arrow keys and Page Up, Page Down: choose. Delete: reject or restore. Enter: relabel.",
      onkeydown: (event) => this.press(event),
    });
  }

  get chosen() {
    return this.list[this.index] ?? null;
  }

  find(id) {
    return this.list.find((sample) => sample.id === id);
  }

  focus() {
    this.element.focus();
  }

  show(list, index) {
    this.list = list;
    this.index = Math.min(index, list.length - 1);
    this.draw();
  }

  // Shows a sample of the page as it is now.
  change(sample) {
    const at = this.list.findIndex((each) => each.id === sample.id);
    if (at < 0) return;
    this.list[at] = { ...this.list[at], ...sample };
    this.element.children[at].replaceWith(this.cell(this.list[at], at));
  }

  draw() {
    const cells = this.list.map((sample, at) => this.cell(sample, at));
    this.element.replaceChildren(...cells);
    this.element.setAttribute("aria-activedescendant", cells[this.index]?.id ?? "");
  }

  cell(sample, at) {
    const name = nameOf(sample);
    const rejected = sample.rejected !== null;
    const state = [name, sample.split, rejected && `rejected, ${sample.rejected}`].filter(Boolean).join(", ");
    const picture = sample.picture
      ? make("img", { src: sample.picture, alt: "", draggable: false })
      : make("span", { class: "missing" }, "its file cannot be read");
    const outlines = sample.outlines ? [make("img", { class: "outlines", src: sample.outlines, alt: "", draggable: false })] : [];
    const tags = [make("b", {}, name || "–"), make("i", {}, sample.split)];
    return make(
      "div",
      {
        id: `varifold-sample-${sample.id}`,
        class: rejected ? "rejected" : null,
        role: "option",
        title: state,
        "aria-label": state,
        "aria-selected": at === this.index,
        onclick: (event) => this.click(at, event),
      },
      make("figure", {}, make("div", {}, picture, ...outlines)),
      make("p", {}, ...tags),
    );
  }

  pictureAt(at) {
    return this.element.children[at].querySelector("figure div");
  }

  // A click chooses; one more, on an object of the chosen sample, points at that.
  click(at, event) {
    this.focus();
    if (at !== this.index) {
      this.choose(at);
      return;
    }
    const { left, top, width, height } = this.pictureAt(at).getBoundingClientRect();
    const object = smallestAt(this.chosen.objects, (event.clientX - left) / width, (event.clientY - top) / height);
    if (object >= 0) this.hooks.pick(object);
  }

  choose(at) {
    this.element.children[this.index]?.setAttribute("aria-selected", false);
    this.index = at;
    this.element.children[at].setAttribute("aria-selected", true);
    this.element.setAttribute("aria-activedescendant", this.element.children[at].id);
    this.hooks.choose();
  }

  // Frames the objects of the chosen sample that have these numbers.
  point(objects) {
    for (const frame of this.element.querySelectorAll("u")) frame.remove();
    for (const object of objects) {
      const [x, y, width, height] = this.chosen.objects[object].box.map((part) => `${100 * part}%`);
      this.pictureAt(this.index).append(make("u", { style: `left: ${x}; top: ${y}; width: ${width}; height: ${height}` }));
    }
  }

  press(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    const end = { Home: 0, End: this.list.length - 1 }[event.key];
    const page = { PageUp: -1, PageDown: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.step(step);
    else if (end !== undefined) this.list.length && this.choose(end);
    else if (page) this.hooks.turn(page, false);
    else if (event.key === "Delete" || event.key === "Backspace") this.hooks.judge();
    else if (event.key === "Enter") this.hooks.name();
    else return;
    event.preventDefault();
  }

  // Arrow keys lead from page to page.
  step(by) {
    const at = this.index + by;
    if (this.list[at]) this.choose(at);
    else if (by === 1) this.hooks.turn(1, false);
    else if (by === -1) this.hooks.turn(-1, true);
  }
}

// What a sample is called: its label, or those of its objects.
export function nameOf({ label, objects }) {
  return label ?? [...new Set(objects.map((object) => object.label))].join(", ");
}

// The number of the smallest object whose box holds a place, in parts of the picture's side; -1 if there is none.
function smallestAt(objects, x, y) {
  let found = -1;
  let least = Infinity;
  for (const [number, { box }] of objects.entries()) {
    const area = box[2] * box[3];
    if (x < box[0] || y < box[1] || x > box[0] + box[2] || y > box[1] + box[3] || area >= least) continue;
    [found, least] = [number, area];
  }
  return found;
}
