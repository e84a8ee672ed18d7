// A caption word by word: rest on a word, move to it by keyboard or tap it, and its part of the picture lights up.

import { align, percent } from "./text.js";

const UNSURE = 0.25; // words with less probability are marked

// Fills `place` with a caption.
//
// words: what is known of each, [{word, probability?}]; may be empty.
// isLit: whether words can be pointed at.
// point(place, isMeant): called with the place of the word that is pointed at, or null; isMeant: by tap, key or focus.
export function showWords(place, caption, words, isLit, point) {
  const parts = align(caption, words.map((each) => each.word));
  place.replaceChildren();
  place.removeAttribute("role");
  place.removeAttribute("aria-label");
  for (const { gap, word, place: number } of parts) {
    place.append(gap);
    if (word === undefined) continue;
    const shown = document.createElement(isLit ? "button" : "span");
    shown.className = "word";
    shown.textContent = word;
    const sure = words[number].probability;
    if (sure !== undefined) {
      shown.classList.toggle("unsure", sure < UNSURE);
      if (!isLit) shown.title = `${percent(sure)} sure`;
      else shown.setAttribute("aria-label", `${word}, ${percent(sure)} sure`);
    }
    shown.dataset.place = number;
    place.append(shown);
  }
  if (isLit) wire(place, point);
}

function wire(place, point) {
  const buttons = [...place.querySelectorAll("button")];
  let pinned = null;
  place.setAttribute("role", "toolbar");
  place.setAttribute("aria-label", "Where each word comes from");
  const number = (button) => (button ? Number(button.dataset.place) : null);
  const light = (button, isMeant) => {
    for (const each of buttons) each.classList.toggle("lit", each === button);
    point(number(button), isMeant);
  };
  const pin = (button) => {
    pinned = pinned === button ? null : button;
    for (const each of buttons) each.setAttribute("aria-pressed", String(each === pinned));
    light(pinned, true);
  };
  const reach = (button) => {
    for (const each of buttons) each.tabIndex = each === button ? 0 : -1;
  };
  buttons.forEach((button, at) => {
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.tabIndex = at === 0 ? 0 : -1; // one stop of the Tab key a caption; arrow keys go from word to word
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && light(button, false));
    button.addEventListener("focus", () => {
      reach(button);
      if (button.matches(":focus-visible")) light(button, true);
    });
    button.addEventListener("blur", () => light(pinned, false));
    button.addEventListener("click", () => pin(button));
  });
  place.onpointerleave = () => light(pinned ?? (place.contains(document.activeElement) && document.activeElement.matches(":focus-visible") ? document.activeElement : null), false);
  place.onkeydown = (event) => {
    const at = buttons.indexOf(document.activeElement);
    const isReversed = getComputedStyle(place).direction === "rtl";
    const steps = { ArrowRight: isReversed ? -1 : 1, ArrowLeft: isReversed ? 1 : -1, Home: -at, End: buttons.length - 1 - at };
    if (at >= 0 && event.key in steps) {
      event.preventDefault();
      buttons[(at + steps[event.key] + buttons.length) % buttons.length].focus();
    } else if (event.key === "Escape" && pinned) {
      pin(pinned);
    }
  };
}
