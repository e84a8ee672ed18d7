// What the page says while it happens, for those who see it and for those who do not.

const QUIET = 2000; // milliseconds between two counts that are read aloud

const byId = (id) => document.getElementById(id);
let lastSaid = 0;

// Read aloud by screen readers. What comes often is said now and then.
export function say(text, isOften = false) {
  const now = Date.now();
  if (isOften && now - lastSaid < QUIET) return;
  lastSaid = now;
  byId("said").textContent = text;
}

// Shows a sentence, and has it read aloud.
export function tellPeople(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = text === "";
  if (text) byId("notice").scrollIntoView({ block: "nearest" });
  say(text);
}
