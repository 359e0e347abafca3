import { make } from "./dom.js";

// A row of bars, one a number, logarithmic over so many decades below the largest; null leaves a gap, and what is
// below 0 hangs from the top.

export const ERROR = "How far each step went from where a corrector would have gone (logarithmic)";

export class Bars {
  // `pick(index)` hears of the bar that the pointer is on.
  constructor(name, about, decades, pick) {
    [this.decades, this.pick, this.values] = [decades, pick, []];
    const at = (event) => this.at(event);
    this.drawing = make("svg", { class: "varifold-bars", role: "img", "aria-label": about, preserveAspectRatio: "none", onpointermove: at, onpointerdown: at });
    this.element = make("div", { class: "varifold-row", title: about }, make("span", {}, name), this.drawing);
  }

  show(values, chosen) {
    this.values = values;
    const most = Math.max(...values.map(Math.abs), Number.MIN_VALUE);
    const marks = values.map((value, index) => {
      const height = value === null ? 0 : Math.max(0.04, 1 + Math.log10(Math.abs(value) / most) / this.decades);
      const name = index === chosen ? "bar chosen" : "bar";
      return make("rect", { class: name, x: index + 0.1, y: value < 0 ? 0 : 1 - height, width: 0.8, height });
    });
    const here = make("rect", { class: "here", x: chosen, y: 0, width: 1, height: 1 });
    this.drawing.setAttribute("viewBox", `0 0 ${Math.max(1, values.length)} 1`);
    this.drawing.replaceChildren(here, ...marks);
  }

  at(event) {
    const box = this.drawing.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / box.width) * this.values.length);
    if (index >= 0 && index < this.values.length) this.pick(index);
  }
}
