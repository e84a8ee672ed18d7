
"use strict";
// Sorts and filters the gallery. All that it reads is in the page.
const gallery = document.getElementById("gallery");
const cards = Array.from(gallery.children);
const find = document.getElementById("find");
const order = document.getElementById("order");
const words = document.getElementById("words");
const count = document.getElementById("count");

// Letters are compared without case and accents, and every word that was typed has to be found.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();
const number = (card, name) => Number(card.dataset[name]);
const orders = {
  data: (a, b) => number(a, "place") - number(b, "place"),
  worst: (a, b) => number(a, "cider") - number(b, "cider"),
  best: (a, b) => number(b, "cider") - number(a, "cider"),
  unsure: (a, b) => number(a, "sure") - number(b, "sure"),
  sure: (a, b) => number(b, "sure") - number(a, "sure"),
};
for (const card of cards) card.text = plain(card.querySelector(".body").dataset.text);

function filter() {
  const wanted = plain(find.value).split(/\s+/).filter(Boolean);
  let left = 0;
  for (const card of cards) {
    card.hidden = !wanted.every((word) => card.text.includes(word));
    left += card.hidden ? 0 : 1;
  }
  count.textContent = left === cards.length ? `${left} pictures` : `${left} of ${cards.length} pictures`;
}

function sort() {
  gallery.append(...cards.sort((a, b) => orders[order.value](a, b) || orders.data(a, b)));
}

find.addEventListener("input", filter);
order.addEventListener("change", sort);
words.addEventListener("change", () => gallery.classList.toggle("show-words", words.checked));
document.getElementById("controls").hidden = false;
// Browsers keep what was typed when a page is opened again.
gallery.classList.toggle("show-words", words.checked);
sort();
filter();
