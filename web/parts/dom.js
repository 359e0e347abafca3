// Building elements, and the one style sheet of this pack.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "polyline", "line", "rect", "circle", "text", "title"]);

export function make(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function useStyle() {
  const address = new URL("./style.css", import.meta.url).href;
  if (!document.querySelector(`link[href="${address}"]`)) {
    document.head.append(make("link", { rel: "stylesheet", href: address }));
  }
}

// A part of a node that is shown and never saved; it stands behind all widgets, so their saved places stay.
export function addPart(node, name, element, height) {
  useStyle();
  element.classList.add("varifold");
  element.dataset.captureWheel = "true"; // what is scrolled in it, once clicked, does not zoom the canvas
  for (const event of ["pointerdown", "wheel", "contextmenu", "dblclick"]) {
    element.addEventListener(event, (happened) => happened.stopPropagation());
  }
  const part = node.addDOMWidget(name, "varifold_part", element, {
    serialize: false,
    getMinHeight: () => height,
    getValue: () => "",
    setValue: () => {},
  });
  part.serialize = false;
  return part;
}

// Calls `act` once, a moment after the last of many calls.
export function settled(act, pause = 60) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, pause);
  };
}
