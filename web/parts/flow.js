import { short } from "./curve.js";
import { make } from "./dom.js";

// Points on their way from noise to data, drawn on a canvas: each in a colour of the place where it ends.

const REACH = 3; // how far the plane is seen, in deviations of the data
const HUES = 36;
const PATHS = 20;
const DOT = 20; // pixels, with its glow
const WHOLE = 4200; // milliseconds from noise to data
const [SHORTEST, LONGEST] = [60, 380]; // of a frame
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Flow {
  constructor() {
    [this.at, this.playing, this.visible] = [0, false, false];
    this.canvas = make("canvas", { role: "img", onclick: () => this.turn() });
    this.button = make("button", { type: "button", onclick: () => this.turn() });
    this.slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "frame", oninput: () => this.step(+this.slider.value) });
    this.level = make("output");
    this.size = make(
      "button",
      { type: "button", "aria-pressed": "false", title: "Show the states in their true size, or each scaled to that of the data", onclick: () => this.resize() },
      "true size",
    );
    this.told = make("output", { "aria-live": "polite" });
    const controls = make("div", { class: "varifold-bar varifold-player" }, this.button, this.slider, this.level);
    const bar = make("div", { class: "varifold-bar" }, this.size, this.told);
    this.element = make("div", { class: "varifold-flow" }, this.canvas, controls, bar);
    new ResizeObserver(() => this.fit()).observe(this.canvas);
    new IntersectionObserver(([entry]) => this.see(entry.isIntersecting)).observe(this.canvas);
    this.label();
  }

  // answer: what the question `toy` gives, or {error}; curve: what is said of the schedule. The place on the way is
  // kept; the first answer is played.
  show(answer, curve) {
    this.told.className = answer.error ? "error" : "";
    this.told.textContent = answer.error ?? `${answer.solver}, ${curve}`;
    this.told.title = this.told.textContent;
    this.element.classList.toggle("broken", Boolean(answer.error));
    if (answer.error) {
      this.pause();
      return;
    }
    const share = this.run ? this.at / this.last : 0;
    const first = !this.run;
    this.run = answer;
    this.last = answer.frames.length - 1;
    this.slider.max = this.last;
    this.colours = colours(answer.frames[this.last]);
    if (first && calm.matches) this.at = this.last;
    else this.at = share === 1 ? this.last : share * this.last;
    if (first && !calm.matches) this.play();
    this.draw();
  }

  turn() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (!this.run) return;
    if (this.at >= this.last) this.at = 0;
    this.playing = true;
    this.label();
    this.move();
  }

  pause() {
    this.playing = false;
    this.label();
  }

  step(index) {
    this.pause();
    this.at = index;
    this.draw();
  }

  see(visible) {
    this.visible = visible;
    this.move();
  }

  resize() {
    this.trueSize = !this.trueSize;
    this.size.setAttribute("aria-pressed", String(this.trueSize));
    this.draw();
  }

  label() {
    this.button.textContent = this.playing ? "❚❚" : "▶";
    const name = this.playing ? "Pause" : "Play";
    this.button.title = name;
    this.button.setAttribute("aria-label", name);
  }

  // Asks for the next picture only while something moves and somebody can see it.
  move() {
    if (this.asked || !this.playing || !this.visible) return;
    let before = null;
    const frame = (now) => {
      this.asked = null;
      if (!this.playing || !this.visible) return;
      const passed = before === null ? 0 : Math.min(100, now - before);
      before = now;
      this.at = Math.min(this.last, this.at + passed / Math.min(LONGEST, Math.max(SHORTEST, WHOLE / this.last)));
      if (this.at >= this.last) this.pause();
      else this.asked = requestAnimationFrame(frame);
      this.draw();
    };
    this.asked = requestAnimationFrame(frame);
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return;
    const ratio = Math.max(2, devicePixelRatio); // the graph may be zoomed in on
    [this.canvas.width, this.canvas.height] = [clientWidth * ratio, clientHeight * ratio];
    this.ratio = ratio;
    this.draw();
  }

  draw() {
    if (!this.run || !this.ratio) return;
    const { sigmas, steps } = this.run;
    const nearest = Math.round(this.at);
    this.slider.value = nearest;
    this.level.textContent = `σ ${short(sigmas[nearest])}, step ${steps[nearest]} of ${steps[this.last]}`;
    this.canvas.setAttribute("aria-label", `points at ${this.level.textContent}`);
    this.slider.setAttribute("aria-valuetext", this.level.textContent);
    this.paint(calm.matches ? nearest : this.at);
  }

  // How large a frame is shown: one deviation of the data, or of the noisy state, is one unit of the picture.
  shrink(frame) {
    return this.trueSize ? 1 / Math.max(1, this.run.scales[0]) : 1 / this.run.scales[frame];
  }

  paint(at) {
    const look = lookOf(this.canvas);
    const pen = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    const unit = Math.min(width, height) / 2 / REACH;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = look.ground;
    pen.fillRect(0, 0, width, height);
    pen.setTransform(1, 0, 0, 1, width / 2, height / 2);
    this.grid(pen, look, unit, width, height);
    this.data(pen, look, unit);
    pen.globalCompositeOperation = look.blend;
    this.paths(pen, look, unit, at);
    this.points(pen, look, unit, at);
  }

  grid(pen, look, unit, width, height) {
    const apart = this.trueSize ? unit * this.shrink(0) : unit;
    if (apart < 5 * this.ratio) return;
    pen.lineWidth = this.ratio * (this.trueSize ? 0.25 : 0.5);
    pen.strokeStyle = look.line;
    pen.beginPath();
    for (let x = 0; x < width / 2; x += apart) for (const side of [-x, x]) pen.rect(side, -height / 2, 0, height);
    for (let y = 0; y < height / 2; y += apart) for (const side of [-y, y]) pen.rect(-width / 2, side, width, 0);
    pen.stroke();
  }

  data(pen, look, unit) {
    const { data } = this.run;
    const size = unit * (this.trueSize ? this.shrink(0) : 1);
    pen.fillStyle = look.data;
    const radius = this.trueSize ? Math.max(0.6, 1.5 * this.shrink(0)) : 1.5;
    for (let k = 0; k < data.length; k += 2) {
      pen.beginPath();
      pen.arc(data[k] * size, -data[k + 1] * size, radius * this.ratio, 0, 7);
      pen.fill();
    }
  }

  // Where point k is at a moment between two frames, in units of the picture.
  place(k, at) {
    const from = Math.min(this.last, Math.floor(at));
    const to = Math.min(this.last, from + 1);
    const share = at - from;
    const [a, b] = [this.run.frames[from], this.run.frames[to]];
    const [p, q] = [(1 - share) * this.shrink(from), share * this.shrink(to)];
    return [p * a[2 * k] + q * b[2 * k], -(p * a[2 * k + 1] + q * b[2 * k + 1])];
  }

  paths(pen, look, unit, at) {
    pen.lineWidth = this.ratio * 0.9;
    pen.lineJoin = "round";
    for (let k = 0; k < Math.min(PATHS, this.colours.length); k += 1) {
      pen.strokeStyle = look.ink(this.colours[k], look.path);
      pen.beginPath();
      for (let frame = 0; frame < at; frame += 1) pen.lineTo(...this.place(k, frame).map((number) => number * unit));
      pen.lineTo(...this.place(k, at).map((number) => number * unit));
      pen.stroke();
    }
  }

  points(pen, look, unit, at) {
    const side = DOT * this.ratio * (this.trueSize ? 0.6 : 1);
    for (let k = 0; k < this.colours.length; k += 1) {
      const [x, y] = this.place(k, at);
      pen.drawImage(look.dot(this.colours[k]), x * unit - side / 2, y * unit - side / 2, side, side);
    }
  }
}

// A hue for each point of a frame, by the direction in which it lies from the middle.
function colours(frame) {
  const hues = [];
  for (let k = 0; k < frame.length; k += 2) {
    const turn = Math.atan2(frame[k + 1], frame[k]) / (2 * Math.PI) + 1;
    hues.push(Math.floor(turn * HUES) % HUES);
  }
  return hues;
}

const looks = new Map();

// On dark themes light adds up, on light ones ink does.
function lookOf(element) {
  const dark = luminance(getComputedStyle(element).backgroundColor) < 0.5;
  if (!looks.has(dark)) looks.set(dark, dark ? night() : day());
  return looks.get(dark);
}

function luminance(colour) {
  const [red, green, blue] = (colour.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  return (0.21 * red + 0.72 * green + 0.07 * blue) / 255;
}

function night() {
  const ink = (hue, alpha = 1) => `oklch(0.77 0.15 ${(hue * 360) / HUES + 60} / ${alpha})`;
  return { ground: "#090a11", blend: "lighter", line: "rgb(255 255 255 / 0.07)", data: "rgb(190 205 255 / 0.15)", path: 0.5, ink, dot: dots(ink, [1, 0.6, 0.18]) };
}

function day() {
  const ink = (hue, alpha = 1) => `oklch(0.66 0.19 ${(hue * 360) / HUES + 60} / ${alpha})`;
  return { ground: "#f4f5fa", blend: "multiply", line: "rgb(0 0 60 / 0.08)", data: "rgb(20 30 80 / 0.14)", path: 0.55, ink, dot: dots(ink, [1, 0.7, 0.06]) };
}

// A soft dot of each hue, drawn once.
function dots(ink, [core, rim, halo]) {
  const drawn = new Map();
  return (hue) => {
    if (!drawn.has(hue)) {
      const dot = make("canvas", { width: 60, height: 60 });
      const pen = dot.getContext("2d");
      const fill = pen.createRadialGradient(30, 30, 0, 30, 30, 30);
      for (const [where, alpha] of [[0, core], [0.12, rim], [0.22, halo], [0.5, halo / 4], [1, 0]]) {
        fill.addColorStop(where, ink(hue, alpha));
      }
      pen.fillStyle = fill;
      pen.fillRect(0, 0, 60, 60);
      drawn.set(hue, dot);
    }
    return drawn.get(hue);
  };
}
