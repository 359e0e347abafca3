import { make } from "./dom.js";

// A curve of noise levels, drawn: σ (logarithmic) or log-SNR against the step. Points may be dragged.

const EDGE = { left: 50, right: 8, top: 8, bottom: 18 };
const LOWEST = 1e-3; // of the highest σ, where σ_min is 0: a logarithm needs a floor

export function short(number) {
  if (number === null) return "∞";
  return Number(number.toPrecision(3)).toString();
}

export class Curve {
  constructor(moved) {
    this.moved = moved;
    this.points = null;
    this.kept = null;
    this.shown = "sigmas";
    this.readout = make("output");
    [this.width, this.height] = [320, 150];
    this.drawing = make("svg", {
      tabindex: 0,
      role: "img",
      "aria-label": "noise levels",
      onpointermove: (event) => this.point(event),
      onpointerleave: () => this.hover(null),
      onpointerdown: (event) => this.take(event),
      onpointerup: (event) => this.release(event),
      onpointercancel: (event) => this.release(event),
      onkeydown: (event) => this.key(event),
    });
    this.units = make("button", { type: "button", title: "Show σ or the log of the signal-to-noise ratio", onclick: () => this.turn() }, "σ");
    this.pin = make(
      "button",
      { type: "button", title: "Keep this curve to compare others with", "aria-pressed": "false", onclick: () => this.keep() },
      "keep",
    );
    const bar = make("div", { class: "varifold-bar" }, this.units, this.pin, this.readout);
    this.element = make("div", { class: "varifold-curve" }, this.drawing, bar);
    new ResizeObserver(() => this.fit()).observe(this.drawing);
  }

  // answer: {sigmas, log_snr} or {error}; points: [[position, σ], ...] that can be dragged, or null. Those left of 0 are
  // not shown.
  show(answer, points) {
    if (!answer.error || !points) this.points = points;
    this.readout.className = answer.error ? "error" : "";
    if (answer.error) {
      this.readout.textContent = answer.error;
      return;
    }
    this.answer = answer;
    this.draw();
    this.hover(null);
  }

  // The size in the node's own pixels; the canvas's zoom comes on top and does not matter here.
  fit() {
    const { clientWidth, clientHeight } = this.drawing;
    if (!clientWidth || !clientHeight) return;
    [this.width, this.height] = [clientWidth, clientHeight];
    this.drawing.setAttribute("viewBox", `0 0 ${clientWidth} ${clientHeight}`);
    this.draw();
  }

  keep() {
    this.kept = this.kept ? null : this.answer;
    this.pin.setAttribute("aria-pressed", String(Boolean(this.kept)));
    this.draw();
  }

  turn() {
    this.shown = this.shown === "sigmas" ? "log_snr" : "sigmas";
    this.units.textContent = this.shown === "sigmas" ? "σ" : "log-SNR";
    this.draw();
  }

  levels(answer) {
    if (this.shown === "log_snr") return answer.log_snr;
    return answer.sigmas.map((sigma) => (sigma > 0 ? Math.log(sigma) : null));
  }

  // The lowest and highest level of all that is drawn; what is infinite is drawn at the edge.
  range() {
    const all = [this.answer, this.kept].filter(Boolean).flatMap((answer) => this.levels(answer));
    const dragged = this.points && this.shown === "sigmas" ? this.points.filter(([x]) => x >= 0).map(([, sigma]) => Math.log(sigma)) : [];
    const finite = [...all, ...dragged].filter((level) => Number.isFinite(level));
    const [low, high] = finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
    const room = Math.max(0.05 * (high - low), high === low ? 1 : 0, 1e-6);
    return [low - room, high + room];
  }

  place(position, level) {
    const [low, high] = this.limits;
    const bounded = level === null ? (this.shown === "sigmas" ? low : high) : level;
    const across = (this.width - EDGE.left - EDGE.right) * position;
    const down = (this.height - EDGE.top - EDGE.bottom) * ((high - bounded) / (high - low));
    return [EDGE.left + across, EDGE.top + down];
  }

  line(answer, name) {
    const levels = this.levels(answer);
    const steps = Math.max(1, levels.length - 1);
    const corners = levels.map((level, step) => this.place(step / steps, level).join(","));
    return make("polyline", { class: name, points: corners.join(" ") });
  }

  draw() {
    if (!this.answer) return;
    this.limits = this.range();
    const steps = this.answer.sigmas.length - 1;
    const marks = [];
    const [low, high] = this.limits;
    for (const share of [0, 0.5, 1]) {
      const level = low + share * (high - low);
      const [left, y] = this.place(0, level);
      const value = this.shown === "sigmas" ? Math.exp(level) : level;
      marks.push(make("line", { class: "grid", x1: left, x2: this.width - EDGE.right, y1: y, y2: y }));
      marks.push(make("text", { x: left - 9, y: y + 3, "text-anchor": "end" }, short(value)));
    }
    const bottom = this.height - 5;
    marks.push(make("text", { x: EDGE.left, y: bottom }, "0"));
    marks.push(make("text", { x: this.width - EDGE.right, y: bottom, "text-anchor": "end" }, `step ${steps}`));
    if (this.kept) marks.push(this.line(this.kept, "kept"));
    marks.push(this.line(this.answer, "line"));
    if (steps <= 40) marks.push(...this.dots(steps));
    if (this.points && this.shown === "sigmas") marks.push(...this.handles());
    this.drawing.replaceChildren(...marks);
  }

  dots(steps) {
    return this.levels(this.answer).map((level, step) => {
      const [cx, cy] = this.place(step / Math.max(1, steps), level);
      return make("circle", { class: "dot", cx, cy, r: 2 });
    });
  }

  handles() {
    return this.points.flatMap(([position, sigma], index) => {
      if (position < 0) return [];
      const [cx, cy] = this.place(position, Math.log(sigma));
      const name = index === this.held ? "handle held" : "handle";
      return make("circle", { class: name, cx, cy, r: 5 }, make("title", {}, `σ ${short(sigma)}`));
    });
  }

  // Where a pointer is, as a position from 0 to 1 and a level.
  where(event) {
    const box = this.drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    const y = ((event.clientY - box.top) / box.height) * this.height;
    const [low, high] = this.limits;
    const position = (x - EDGE.left) / (this.width - EDGE.left - EDGE.right);
    const level = high - ((y - EDGE.top) / (this.height - EDGE.top - EDGE.bottom)) * (high - low);
    return { x, y, position: Math.min(1, Math.max(0, position)), level: Math.min(high, Math.max(low, level)) };
  }

  point(event) {
    if (!this.answer) return;
    const at = this.where(event);
    if (this.held !== undefined) this.drag(at.position, Math.exp(at.level));
    else this.hover(Math.round(at.position * (this.answer.sigmas.length - 1)));
  }

  hover(step) {
    if (!this.answer || this.readout.className === "error") return;
    this.drawing.querySelector(".cursor")?.remove();
    const { sigmas, log_snr } = this.answer;
    if (step === null) {
      this.readout.textContent = `${sigmas.length - 1} steps, σ ${short(sigmas[0])} → ${short(sigmas.at(-1))}`;
      return;
    }
    const [x] = this.place(step / Math.max(1, sigmas.length - 1), 0);
    this.drawing.append(make("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: this.height - EDGE.bottom }));
    this.readout.textContent = `step ${step}: σ ${short(sigmas[step])}, log-SNR ${short(log_snr[step])}`;
  }

  take(event) {
    if (!this.points || this.shown !== "sigmas" || event.button !== 0) return;
    const at = this.where(event);
    const distances = this.points.map(([position, sigma]) => {
      const [x, y] = this.place(position, Math.log(sigma));
      return Math.hypot(x - at.x, y - at.y);
    });
    const nearest = distances.indexOf(Math.min(...distances));
    if (event.shiftKey || event.ctrlKey) {
      this.remove(nearest);
      return;
    }
    this.held = distances[nearest] < 14 ? nearest : this.add(at.position, Math.exp(at.level));
    this.drawing.setPointerCapture(event.pointerId);
    this.draw();
  }

  release(event) {
    if (this.held === undefined) return;
    this.held = undefined;
    this.drawing.releasePointerCapture?.(event.pointerId);
    this.draw();
  }

  add(position, sigma) {
    const index = this.points.findIndex(([other]) => other > position);
    if (index <= 0) return undefined;
    const points = [...this.points];
    points.splice(index, 0, [position, sigma]);
    this.change(points);
    return index;
  }

  remove(index) {
    if (index <= 0 || index >= this.points.length - 1) return; // the ends stay
    this.change(this.points.filter((_, other) => other !== index));
  }

  // Points stay in order, to the side and downwards; the ends move only up and down.
  drag(position, sigma) {
    const [before, after] = [this.points[this.held - 1], this.points[this.held + 1]];
    const gap = 0.005;
    const own = this.points[this.held][0];
    const x = before && after ? Math.min(after[0] - gap, Math.max(before[0] + gap, position)) : own;
    const y = Math.min(before ? before[1] * 0.99 : Infinity, Math.max(after ? after[1] * 1.01 : LOWEST, sigma));
    this.change(this.points.map((point, index) => (index === this.held ? [x, y] : point)));
  }

  change(points) {
    this.points = points;
    this.draw();
    this.moved(points);
  }

  // Arrow keys walk along the steps and read them out.
  key(event) {
    const last = (this.answer?.sigmas.length ?? 1) - 1;
    const moves = { ArrowRight: 1, ArrowLeft: -1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    this.step = Math.min(last, Math.max(0, (this.step ?? -1) + moves[event.key]));
    this.hover(this.step);
  }
}
