// All captions as a file: CSV, JSON lines, or a ZIP of texts, as `captioner batch` writes them.

import { zip } from "./zip.js";

const COLUMNS = ["path", "caption", "log_prob", "confidence", "was", "error"];
const NUMBER = /^-?\d+(\.\d+)?(e-?\d+)?$/;

export const KINDS = {
  csv: (pictures) => file("captions.csv", "text/csv;charset=utf-8", csv(pictures)),
  jsonl: (pictures) => file("captions.jsonl", "application/jsonl", jsonLines(pictures)),
  zip: (pictures) => ({ name: "captions.zip", blob: zip(texts(pictures)) }),
};

// Hands a file to the browser.
export function save({ name, blob }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function file(name, type, text) {
  return { name, blob: new Blob([text], { type }) };
}

// A picture as an object of JSON. A caption that somebody wrote has neither probability nor confidence.
export function record(picture) {
  if (picture.problem) return { path: picture.path, error: { code: picture.problem.code, message: picture.problem.message } };
  const { log_prob, confidence, candidates } = picture.entry;
  const isOwn = picture.caption === picture.entry.caption;
  const found = { path: picture.path, caption: picture.caption };
  if (isOwn) return { ...found, log_prob, confidence, candidates };
  return { ...found, log_prob: null, confidence: null, candidates, was: picture.entry.caption };
}

export function jsonLines(pictures) {
  return pictures.map((picture) => `${JSON.stringify(record(picture))}\n`).join("");
}

export function csv(pictures) {
  const rows = pictures.map((picture) => {
    const found = record(picture);
    return COLUMNS.map((name) => cell(name === "error" ? found.error?.message : found[name]));
  });
  return [COLUMNS, ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

// Spreadsheets take a text that begins with =, +, -, @, a tab or a line end for a formula; an apostrophe before it
// makes it a text (OWASP, CSV injection).
function cell(value) {
  const text = value === undefined || value === null ? "" : String(value);
  const safe = /^[=+\-@\t\r']/.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// dog.jpg → dog.txt; where two pictures would share a text, dog.jpg.txt and dog.png.txt.
export function texts(pictures) {
  const told = pictures.filter((picture) => !picture.problem);
  const shared = new Map();
  for (const { path } of told) shared.set(stem(path), (shared.get(stem(path)) ?? 0) + 1);
  const taken = new Set();
  return told.map(({ path, caption }) => {
    const base = shared.get(stem(path)) > 1 ? clean(path) : stem(path);
    let name = `${base}.txt`;
    for (let copy = 2; taken.has(name.toLowerCase()); copy += 1) name = `${base} (${copy}).txt`;
    taken.add(name.toLowerCase());
    return { name, text: `${caption}\n` };
  });
}

function stem(path) {
  return clean(path).replace(/(?<=[^/])\.[^./]+$/, "");
}

// No name in a ZIP leads out of the folder that it is unpacked into, and none is refused by a system.
function clean(path) {
  const parts = path.split("/").map((part) => part.replace(/[\\:*?"<>|\p{Cc}]/gu, "_").replace(/^\.+$/, "_"));
  return parts.filter(Boolean).join("/") || "_";
}
