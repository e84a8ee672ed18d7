// The page of `captioner serve`: pictures come in, captions come out. Talks to this service alone, keeps nothing.

import { showAbout } from "./about.js";
import { Card } from "./card.js";
import { wireDrop, wireIntake } from "./controls.js";
import { KINDS, save } from "./downloads.js";
import { Evidence } from "./evidence.js";
import { Queue } from "./queue.js";
import { say, tellPeople } from "./say.js";
import { Problem, Service } from "./service.js";
import { shrink } from "./shrink.js";
import { isFinal, megabytes, pictures as counted, sentence } from "./text.js";
import { askToken } from "./token.js";

const AT_ONCE = 3; // requests for captions
const SHOWN_AT_ONCE = 50; // cards between two frames
const CANDIDATES = 5;

const byId = (id) => document.getElementById(id);
const list = byId("pictures");
const cards = new Map(); // by picture
const service = new Service(askToken);
const captioning = new Queue(AT_ONCE, caption, showProgress);
const evidence = new Evidence(service, cards);
let model = null; // what the service tells of itself
let asking = null; // while it is asked
let serial = 0;

// ---- the service ----

function learn() {
  asking ??= service.model().then(
    (found) => {
      model = found;
      actions.hasAttention = found.attention === true;
      evidence.isSlow = !actions.hasAttention;
      actions.hasNeighbours = found.neighbours === true;
      actions.isCenter = found.framing === "center";
      byId("trouble").hidden = true;
      showAbout(found);
    },
    (problem) => {
      asking = null; // the next one tries again
      byId("model").textContent = "";
      byId("trouble").hidden = false;
      byId("trouble").firstElementChild.textContent = sentence(problem);
      throw problem;
    },
  );
  return asking;
}

// Captions are those that everybody else gets from this service; with them come as many others as its search has.
function options() {
  return { n_best: Math.min(CANDIDATES, model.options?.beam ?? 1, model.limits?.max_beam ?? CANDIDATES) };
}

async function caption(picture, signal) {
  const card = cards.get(picture);
  try {
    picture.status = "working";
    card.tell("working", "Asking …");
    await learn();
    picture.sent ??= await fitting(picture, card);
    signal.throwIfAborted();
    card.tell("working", "Looking at it …");
    picture.entry = await service.caption(picture.sent, options(), signal, (seconds) => {
      card.tell("working", `The service is busy; trying again in ${Math.round(seconds)} s …`);
      say("The service is busy; waiting.", true);
    });
    picture.caption = picture.entry.caption;
    picture.status = "done";
    card.showCaption();
    if (picture.shrunk) card.note(picture.shrunk);
  } catch (error) {
    settle(picture, card, error);
  }
}

function settle(picture, card, error) {
  if (error.name === "AbortError") {
    picture.status = "stopped";
    card.tell("stopped", "Stopped");
    return;
  }
  picture.status = "failed";
  picture.problem = error instanceof Problem ? error : new Problem(0, "page", error.message);
  card.showProblem();
}

// The bytes to send: the file's own, or those of a smaller picture where it has more than the service takes.
async function fitting(picture, card) {
  const most = model.limits?.file_bytes ?? Infinity;
  const { file } = picture;
  if (file.size <= most) return file;
  card.tell("working", `${megabytes(file.size)} are more than the service takes; making it smaller …`);
  try {
    const smaller = await shrink(file, most);
    picture.shrunk = `Made smaller before it was sent: ${megabytes(file.size)} → ${megabytes(smaller.size)}; the service takes ${megabytes(most)}.`;
    return smaller;
  } catch {
    const detail = `it has ${megabytes(file.size)}, the service takes ${megabytes(most)}, and this browser cannot make it smaller`;
    throw new Problem(413, "too_large", detail);
  }
}

// ---- what can be done with a picture ----

const actions = {
  hasAttention: false,
  hasNeighbours: false,
  isCenter: false,
  remove(picture) {
    const next = cards.get(picture).element.nextElementSibling ?? cards.get(picture).element.previousElementSibling;
    forget(picture);
    (next?.querySelector(".remove") ?? byId("choose")).focus();
    say(`${picture.path} removed.`);
  },
  retry(picture) {
    enqueue(picture);
    cards.get(picture).part(".name").focus();
  },
  async copy(picture) {
    const card = cards.get(picture);
    try {
      await navigator.clipboard.writeText(picture.caption);
      card.note("Copied.");
      say("Copied.");
    } catch {
      getSelection().selectAllChildren(card.part(".caption"));
      card.note("The browser does not let this page copy; the caption is selected.");
    }
  },
  explain(picture) {
    evidence.explain(picture);
  },
  liken(picture) {
    evidence.liken(picture);
  },
  // What is wrong with a caption that somebody wrote; empty when nothing is.
  objection(text) {
    if (!text) return "Write a caption first, or cancel.";
    const most = model.limits?.text_bytes ?? Infinity;
    return new TextEncoder().encode(text).length > most ? `That is longer than the service takes: at most ${most} bytes.` : "";
  },
  correct(picture, text) {
    if (text === picture.caption) return;
    picture.caption = text;
    picture.isExplained = null;
    const card = cards.get(picture);
    card.note("");
    card.showCaption();
    picture.isUnsaved = text !== picture.entry.caption;
    say(picture.isUnsaved ? "Corrected." : "Undone.");
    if (model.corrections) picture.keeping = (picture.keeping ?? Promise.resolve()).then(() => keep(picture, card, text));
  },
};

// What the service keeps of a picture is what is shown: the caption before is taken back, the captioner's own is none.
async function keep(picture, card, text) {
  if (picture.caption !== text) return; // changed again meanwhile
  const isOwn = text === picture.entry.caption;
  if (!isOwn) card.note("Sending the correction …");
  try {
    if (picture.kept) await service.takeBack(picture.kept);
    picture.kept = null;
    if (isOwn) return;
    const found = await service.correct(picture.sent, text, picture.entry.caption, undefined, () => card.note("The service is busy; the correction waits …"));
    picture.kept = found.added ? found : null; // what somebody kept before is not ours to take back
    if (picture.caption !== text) return;
    picture.isUnsaved = false;
    card.note("Corrected; the service keeps it to learn from.");
  } catch (error) {
    if (picture.caption !== text) return;
    const what = picture.kept ? "Changed here, but the service still keeps the correction before." : "Corrected here, but the service does not keep it.";
    card.note(`${what} ${sentence(error)}`, true);
  }
}

// ---- pictures come and go ----

async function add(found) {
  if (found.length === 0) return;
  byId("notice").hidden = true;
  byId("work").hidden = false;
  byId("skip").hidden = false;
  document.body.classList.add("working");
  say(`${counted(found.length)} added.`);
  for (let from = 0; from < found.length; from += SHOWN_AT_ONCE) {
    const some = found.slice(from, from + SHOWN_AT_ONCE).map(({ file, path }) => ({ id: (serial += 1), file, path, status: "waiting" }));
    for (const picture of some) cards.set(picture, new Card(picture, actions));
    list.append(...some.map((picture) => cards.get(picture).element));
    for (const picture of some) enqueue(picture);
    await new Promise((resolve) => setTimeout(resolve)); // hundreds of them shall not hold the page up
  }
}

function canRetry({ status, problem }) {
  return status === "stopped" || (status === "failed" && !isFinal(problem));
}

function enqueue(picture) {
  picture.status = "waiting";
  picture.problem = null;
  cards.get(picture)?.tell("waiting", "Waiting");
  captioning.add(picture);
}

function forget(picture) {
  captioning.stop(picture);
  evidence.stop(picture);
  const card = cards.get(picture);
  card.element.remove();
  card.removed();
  cards.delete(picture);
  if (cards.size === 0) {
    byId("work").hidden = true;
    byId("skip").hidden = true;
    document.body.classList.remove("working");
  }
  showProgress();
}

function stopAll() {
  for (const picture of captioning.stopAll()) settle(picture, cards.get(picture), new DOMException("", "AbortError"));
  showProgress();
  say("Stopped.");
  (byId("again").hidden ? byId("choose") : byId("again")).focus();
}

function showProgress() {
  const states = { waiting: 0, working: 0, done: 0, failed: 0, stopped: 0 };
  for (const picture of cards.keys()) states[picture.status] += 1;
  const over = states.done + states.failed + states.stopped;
  const failed = states.failed ? `, ${states.failed} failed` : "";
  const stopped = states.stopped ? `, ${states.stopped} stopped` : "";
  const isBusy = over < cards.size;
  const text = isBusy ? `${states.done} of ${counted(cards.size)} captioned${failed}${stopped}` : `${counted(states.done)} captioned${failed}${stopped}`;
  byId("count").textContent = text;
  byId("progress").max = Math.max(1, cards.size);
  byId("progress").value = over;
  byId("progress").classList.toggle("over", !isBusy);
  byId("stop").hidden = !isBusy;
  const again = [...cards.keys()].filter(canRetry).length;
  byId("again").hidden = isBusy || again === 0;
  byId("again").textContent = `Try ${again} again`;
  for (const button of document.querySelectorAll("[data-download]")) button.disabled = states.done === 0;
  if (cards.size === 0) return;
  const only = [...cards.keys()][0];
  if (isBusy) say(`${text}.`, true);
  else if (cards.size === 1 && only.status === "done") say(`Caption: ${only.caption}`);
  else if (cards.size === 1 && only.status === "failed") say(sentence(only.problem));
  else if (over > 0) say(`Ready. ${text}.`);
}

// ---- the controls ----

function wireBar() {
  byId("stop").addEventListener("click", stopAll);
  byId("again").addEventListener("click", () => {
    for (const picture of cards.keys()) if (canRetry(picture)) enqueue(picture);
    byId("choose").focus();
  });
  byId("clear").addEventListener("click", () => {
    if (hasUnsaved() && !confirm("Some corrections are nowhere else. Remove all pictures?")) return;
    for (const picture of [...cards.keys()]) forget(picture);
    byId("choose").focus();
    say("All pictures removed.");
  });
  for (const button of document.querySelectorAll("[data-download]")) {
    button.addEventListener("click", () => {
      const over = [...cards.keys()].filter((picture) => picture.status === "done" || picture.status === "failed");
      try {
        save(KINDS[button.dataset.download](over));
        for (const picture of over) picture.isUnsaved = false;
        say("Downloaded.");
      } catch (error) {
        tellPeople(`This could not be downloaded: ${error.message}.`);
      }
    });
  }
}

// Corrections that are nowhere else are not lost without a question.
function hasUnsaved() {
  return [...cards.keys()].some((picture) => picture.isUnsaved);
}
addEventListener("beforeunload", (event) => {
  if (hasUnsaved()) event.preventDefault();
});
byId("reconnect").addEventListener("click", () => {
  byId("choose").focus();
  learn().catch(() => {});
});
wireIntake(add);
wireDrop(add);
wireBar();
learn().catch(() => {});
