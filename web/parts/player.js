import { make } from "./dom.js";

// Stepping through frames: a button that plays them once, and a slider for pointer, touch and arrow keys.

export class Player {
  // `show(index)` is called for every frame that is stepped to.
  constructor(show, pause = 140) {
    [this.show, this.pause, this.count] = [show, pause, 0];
    this.slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "frame", oninput: () => this.step(+this.slider.value) });
    this.button = make("button", { type: "button", onclick: () => (this.timer ? this.stop() : this.play()) });
    this.element = make("div", { class: "varifold-bar varifold-player" }, this.button, this.slider);
    this.stop();
  }

  load(count, index = 0) {
    this.stop();
    this.count = count;
    this.slider.max = count - 1;
    this.go(index);
  }

  go(index) {
    this.slider.value = index;
    this.show(index);
  }

  step(index) {
    this.stop();
    this.go(index);
  }

  play() {
    let index = +this.slider.value;
    if (index >= this.count - 1) index = -1;
    const next = () => {
      if (!this.element.isConnected || document.hidden || index >= this.count - 1) {
        this.stop();
        return;
      }
      index += 1;
      this.go(index);
      this.timer = setTimeout(next, this.pause);
    };
    this.label("❚❚", "Pause");
    next();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.label("▶", "Play");
  }

  label(sign, name) {
    this.button.textContent = sign;
    this.button.title = name;
    this.button.setAttribute("aria-label", name);
  }
}
