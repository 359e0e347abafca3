import { ask } from "./ask.js";
import { make } from "./dom.js";

// Words of a prompt as the denoiser reads them, and words to complete the one being written.

const SUGGESTED = 8;
const WORD = /<[^<>\s]+>|[^\W_]+/gu;
const facts = new Map();

// What there is to know of a denoiser; asked for once a file, and again after an error.
export async function factsOf(file) {
  if (!facts.has(file)) facts.set(file, ask("denoiser", { file }, `facts of ${file}`));
  const answer = await facts.get(file);
  if (!answer || answer.error) facts.delete(file);
  return answer ?? { error: "no answer" };
}

// The word at the end of what was changed between two texts: the one being written; null if there is none.
export function written(before, after) {
  const most = Math.min(before.length, after.length);
  let same = 0;
  while (same < most && before.at(-1 - same) === after.at(-1 - same)) same += 1;
  const caret = after.length - same;
  for (const match of after.matchAll(WORD)) {
    const end = match.index + match[0].length;
    if (match.index < caret && caret <= end) return { word: match[0], start: match.index, end };
  }
  return null;
}

export class Words {
  // `insert(start, end, word)` puts a word into the text.
  constructor(insert) {
    this.insert = insert;
    this.read = make("div", { class: "varifold-words", "aria-live": "polite" });
    this.offers = make("div", { class: "varifold-words offers" });
    this.element = make("div", { class: "varifold-prompt" }, this.read, this.offers);
  }

  // reading: {words: [[word, known or null], ...]}, {hint} or {error}.
  show(reading) {
    if (!reading.words) {
      const name = reading.error ? "unknown" : "hint";
      this.read.replaceChildren(make("span", { class: name }, reading.error ?? reading.hint));
      return;
    }
    const chips = reading.words.map(([word, known]) =>
      known === null
        ? make("s", { class: "unknown", title: "The denoiser does not know this word" }, word)
        : make("span", { class: "known", title: known === word.toLowerCase() ? null : `read as ${known}` }, word),
    );
    this.read.replaceChildren(...(chips.length ? chips : [make("span", { class: "hint" }, "anything: no words")]));
  }

  // Words that begin like the one at `place`, then words that contain it.
  offer(place, vocabulary) {
    const begun = place?.word.toLowerCase() ?? "";
    const fits = begun.length > 0 ? vocabulary.filter((word) => word !== begun && word.includes(begun)) : [];
    fits.sort((a, b) => b.startsWith(begun) - a.startsWith(begun) || a.length - b.length || a.localeCompare(b));
    const buttons = fits.slice(0, SUGGESTED).map((word) =>
      make("button", { type: "button", onclick: () => this.insert(place.start, place.end, word) }, word),
    );
    this.offers.replaceChildren(...buttons);
  }
}
