// What a caption rests on, asked for one picture at a time: where each word comes from, and the training pictures that
// look alike.

import { Queue } from "./queue.js";
import { sentence } from "./text.js";

export class Evidence {
  #service;
  #cards;
  #explaining = new Queue(1, (picture, signal) => this.#explain(picture, signal), () => {});
  #likening = new Queue(1, (picture, signal) => this.#liken(picture, signal), () => {});

  // cards: a Map from pictures to their cards; those that were removed are not in it.
  constructor(service, cards) {
    this.#service = service;
    this.#cards = cards;
    this.isSlow = false; // whether an explanation means covering many parts of the picture
  }

  explain(picture) {
    if (picture.explanation?.caption === picture.caption || picture.isExplained === picture.caption) return;
    picture.isExplained = picture.caption; // asked for
    this.#explaining.add(picture);
  }

  liken(picture) {
    if (picture.isLikened) return;
    picture.isLikened = true; // asked for
    this.#likening.add(picture);
  }

  stop(picture) {
    this.#explaining.stop(picture);
    this.#likening.stop(picture);
  }

  async #explain(picture, signal) {
    const card = this.#cards.get(picture);
    const text = picture.caption;
    if (!card || picture.explanation?.caption === text) return;
    if (this.isSlow) card.note("Covering parts of the picture, one after the other …");
    try {
      const found = await this.#service.explain(picture.sent, text, signal);
      if (picture.caption !== text) return; // it was corrected meanwhile
      picture.explanation = found;
      if (this.isSlow) card.note("Rest on a word, or tap it: its part of the picture lights up.");
      card.showExplanation();
    } catch (error) {
      if (picture.isExplained === text) picture.isExplained = null; // may be asked for again
      if (error.name !== "AbortError") card.note(sentence(error), true);
    }
  }

  async #liken(picture, signal) {
    const card = this.#cards.get(picture);
    if (!card) return;
    try {
      const { neighbours } = await this.#service.neighbours(picture.sent, signal);
      card.showNeighbours(neighbours);
    } catch (error) {
      picture.isLikened = false; // as above
      if (error.name !== "AbortError") card.note(sentence(error), true);
    }
  }
}
