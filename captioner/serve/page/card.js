// One picture on the page, and all that can be done with it. File names and captions are put in as text, never as HTML.

import { light } from "./light.js";
import { isFinal, percent, perWord, sentence } from "./text.js";
import { showWords } from "./words.js";

const template = document.getElementById("picture");
const METER = 40; // as wide as its SVG

export class Card {
  #picture;
  #actions;
  #place = null; // of the word that is pointed at

  // picture: {path, file}, to which status, entry, caption, problem and explanation are added by the page.
  // actions: what the page does when somebody asks: remove, retry, correct, copy, explain; and facts: hasAttention, isCenter.
  constructor(picture, actions) {
    this.#picture = picture;
    this.#actions = actions;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.#fill();
    this.#wire();
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  // What happens just now, in words.
  tell(status, text) {
    this.element.dataset.status = status;
    this.part(".state").hidden = status === "done";
    this.part(".state .text").textContent = text;
    this.part(".failed").hidden = status !== "stopped" && (status !== "failed" || isFinal(this.#picture.problem));
  }

  showProblem() {
    this.tell("failed", sentence(this.#picture.problem));
  }

  showCaption() {
    const { caption, entry, path } = this.#picture;
    this.tell("done", "");
    for (const name of [".caption", ".facts", ".actions"]) this.part(name).hidden = false;
    this.part(".sentence").textContent = caption;
    this.part(".likens").hidden = !this.#actions.hasNeighbours || !this.part(".neighbours").hidden;
    this.part("img").alt = caption;
    this.part(".reverts").hidden = caption === entry.caption;
    this.element.classList.toggle("corrected", caption !== entry.caption);
    this.part(".edits").setAttribute("aria-label", `Correct the caption of ${path}`);
    this.#showOthers();
    this.#showWords();
    this.#showFacts();
  }

  // A line below the caption: what came of what was asked for.
  note(text, isBad = false) {
    const note = this.part(".note");
    note.textContent = text;
    note.hidden = text === "";
    note.classList.toggle("bad", isBad);
  }

  // The map of the word that is pointed at, as soon as there is one. Words that stay the same keep their focus.
  showExplanation() {
    const { caption, explanation } = this.#picture;
    if (explanation?.caption !== caption || !this.part(".edit").hidden) return;
    const place = this.#place;
    const hadFocus = this.part(".caption").contains(document.activeElement);
    if (this.part(".caption").dataset.words !== this.#signature(this.#words)) {
      this.#showWords();
      const same = place === null ? null : this.part(`.caption [data-place="${place}"]`);
      if (hadFocus) (same ?? this.part(".caption button"))?.focus();
    }
    this.#point(place);
  }

  // What people wrote for the training pictures that look most alike: one line a picture, all of its captions as a hint.
  showNeighbours(neighbours) {
    const rows = neighbours.map(({ similarity, captions }) => {
      const row = document.createElement("li");
      const text = document.createElement("span");
      text.dir = "auto";
      text.textContent = captions[0] ?? "";
      text.title = captions.join("\n");
      row.append(text, ...this.#measured(similarity.toFixed(2), similarity));
      return row;
    });
    this.part(".neighbours ol").replaceChildren(...rows);
    this.part(".neighbours").hidden = rows.length === 0;
    this.part(".likens").hidden = true;
    this.part(".neighbours").focus(); // the button that was pressed is gone
  }

  removed() {
    URL.revokeObjectURL(this.part("img").src);
  }

  #fill() {
    const { path, file } = this.#picture;
    const image = this.part("img");
    image.addEventListener("load", () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 120));
    image.addEventListener("error", () => {
      image.hidden = true;
      this.part(".placeholder").hidden = false;
    });
    image.src = URL.createObjectURL(file);
    this.part(".name").textContent = path;
    this.part(".name").title = path;
    const names = { ".remove": `Remove ${path}`, ".copies": `Copy the caption of ${path}`, ".retries": `Try again: ${path}`, ".explains": `Where from? Show where each word for ${path} comes from`, ".likens": `Because of? Show the captions of training pictures that look like ${path}`, ".reverts": `Undo the correction of ${path}`, textarea: `Caption of ${path}` };
    for (const [selector, name] of Object.entries(names)) this.part(selector).setAttribute("aria-label", name);
    this.part(".remove").title = "Remove";
  }

  #wire() {
    const picture = this.#picture;
    const on = (selector, event, action) => this.part(selector).addEventListener(event, action);
    on(".remove", "click", () => this.#actions.remove(picture));
    on(".retries", "click", () => this.#actions.retry(picture));
    on(".copies", "click", () => this.#actions.copy(picture));
    on(".explains", "click", () => this.#actions.explain(picture));
    on(".likens", "click", () => this.#actions.liken(picture));
    on(".reverts", "click", () => {
      this.#actions.correct(picture, picture.entry.caption);
      this.part(".edits").focus();
    });
    on(".edits", "click", () => this.#edit());
    on(".edit .leave", "click", () => this.#leave());
    on(".edit", "submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    on("textarea", "keydown", (event) => {
      if (event.isComposing) return; // Enter and Escape belong to the input method
      if (event.key === "Escape") this.#leave();
      if (event.key !== "Enter") return;
      event.preventDefault(); // a caption is one line
      this.#save();
    });
  }

  #edit() {
    for (const name of [".caption", ".facts", ".actions"]) this.part(name).hidden = true;
    this.note("");
    this.part(".edit").hidden = false;
    this.part(".edit .bad").hidden = true;
    const field = this.part("textarea");
    field.value = this.#picture.caption;
    field.focus();
    field.select();
  }

  #leave() {
    this.part(".edit").hidden = true;
    for (const name of [".caption", ".facts", ".actions"]) this.part(name).hidden = false;
    this.part(".edits").focus();
  }

  #save() {
    const text = this.part("textarea").value.split(/\s+/).filter(Boolean).join(" ");
    const wrong = this.#actions.objection(text);
    this.part(".edit .bad").textContent = wrong;
    this.part(".edit .bad").hidden = wrong === "";
    if (wrong) return;
    this.#leave();
    this.#actions.correct(this.#picture, text);
  }

  #showFacts(word = null) {
    const { caption, entry } = this.#picture;
    const isOwn = caption === entry.caption;
    const sure = word ? word.probability : isOwn ? entry.confidence : null;
    const text = word ? this.#wordFacts(word) : this.#captionFacts(isOwn);
    this.part(".facts span").textContent = text;
    this.part(".meter").classList.toggle("none", typeof sure !== "number");
    this.part(".meter .fill").setAttribute("width", String(METER * (sure ?? 0)));
    this.part(".facts").hidden = false;
  }

  #captionFacts(isOwn) {
    const { entry } = this.#picture;
    if (!isOwn) return `Corrected; the captioner said “${entry.caption}”`;
    const found = `${percent(perWord(entry))} a word`;
    return typeof entry.confidence === "number" ? `Confidence ${percent(entry.confidence)} · ${found}` : `Probability ${found}`;
  }

  #wordFacts(word) {
    const sure = word.probability === undefined ? `“${word.word}”` : `“${word.word}”: ${percent(word.probability)} sure`;
    return word.isNowhere ? `${sure}; no single part of the picture matters` : sure;
  }

  #showOthers() {
    const { caption, entry } = this.#picture;
    const others = entry.candidates.filter((each) => each.caption !== caption);
    const list = this.part(".others ol");
    list.replaceChildren(...others.map((each) => this.#other(each)));
    this.part(".others").hidden = others.length === 0;
  }

  #other(candidate) {
    const { caption, probability } = candidate;
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dir = "auto";
    button.textContent = caption;
    button.title = `Use this caption; the probability of the whole sentence is ${percent(probability)}`;
    row.append(button, ...this.#measured(percent(perWord(candidate)), perWord(candidate)));
    button.addEventListener("click", () => {
      this.#actions.correct(this.#picture, caption);
      this.part(".edits").focus();
    });
    return row;
  }

  // A meter filled to a share, 0 to 1, and what it says beside it.
  #measured(said, share) {
    const meter = this.part(".meter").cloneNode(true);
    meter.classList.remove("none");
    meter.querySelector(".fill").setAttribute("width", String(METER * Math.max(0, share)));
    const text = document.createElement("span");
    text.className = "share";
    text.textContent = said;
    return [meter, text];
  }

  // The words that are known: those of an explanation, else those of the captioner's own caption.
  get #words() {
    const { caption, entry, explanation } = this.#picture;
    const own = caption === entry.caption ? (entry.words ?? []) : [];
    if (!explanation || explanation.caption !== caption) return own;
    return explanation.words.map((word, at) => (own[at]?.word === word ? own[at] : { word }));
  }

  #showWords() {
    const { caption, explanation } = this.#picture;
    const isExplained = explanation?.caption === caption;
    const canPoint = isExplained || this.#actions.hasAttention;
    let words = this.#words;
    // Before a corrected caption is explained, its words are taken to be what stands between spaces.
    if (canPoint && words.length === 0) words = caption.split(" ").map((word) => ({ word }));
    this.part(".caption").dataset.words = canPoint ? this.#signature(words) : "";
    this.#place = null;
    this.part("canvas").hidden = true;
    showWords(this.part(".caption"), caption, words, canPoint, (place) => this.#point(place));
    this.part(".explains").hidden = canPoint;
  }

  #signature(words) {
    return JSON.stringify(words.map((each) => each.word));
  }

  #point(place) {
    this.#place = place;
    const { explanation, caption, entry } = this.#picture;
    const canvas = this.part("canvas");
    canvas.hidden = true;
    if (!entry || !this.part(".edit").hidden) return;
    if (place === null) {
      this.#showFacts();
      return;
    }
    const isExplained = explanation?.caption === caption;
    const map = isExplained ? explanation.maps[place] : null;
    const isNowhere = Boolean(map) && explanation.method === "occlusion" && Math.max(...map) <= 0;
    this.#showFacts({ ...(this.#words[place] ?? { word: "" }), isNowhere });
    if (!isExplained) {
      this.#actions.explain(this.#picture);
      return;
    }
    const image = this.part("img");
    if (!map || isNowhere || image.hidden || !image.naturalWidth) return;
    light(canvas, image, map, explanation.rows, explanation.columns, this.#actions.isCenter);
    canvas.hidden = false;
  }
}
