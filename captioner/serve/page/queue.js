// A few things at a time, in the order in which they came; each can be stopped. Knows nothing of pictures.

export class Queue {
  #most;
  #work;
  #changed;
  #waiting = [];
  #running = new Map();

  // most: how many are worked on side by side. work(item, signal): a promise that ends when the signal is aborted.
  constructor(most, work, changed) {
    this.#most = most;
    this.#work = work;
    this.#changed = changed;
  }

  get isIdle() {
    return this.#waiting.length + this.#running.size === 0;
  }

  add(item) {
    this.#waiting.push(item);
    this.#next();
  }

  // Returns whether it was there: what waited is forgotten, what is being worked on is aborted.
  stop(item) {
    const place = this.#waiting.indexOf(item);
    if (place >= 0) this.#waiting.splice(place, 1);
    this.#running.get(item)?.abort();
    return place >= 0 || this.#running.has(item);
  }

  // Returns what had waited.
  stopAll() {
    const waited = this.#waiting.splice(0);
    for (const controller of this.#running.values()) controller.abort();
    return waited;
  }

  async #next() {
    while (this.#waiting.length > 0 && this.#running.size < this.#most) {
      const item = this.#waiting.shift();
      const controller = new AbortController();
      this.#running.set(item, controller);
      this.#work(item, controller.signal).finally(() => {
        this.#running.delete(item);
        this.#next();
        this.#changed();
      });
    }
    this.#changed();
  }
}
