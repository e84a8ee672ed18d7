// Talks to the service: REST as in its /openapi.json. Waits while it is busy, asks for the token where one is wanted.

const PATIENCE = 6; // times that a service is asked again which does not say how long it will be busy
const LONGEST = 30; // seconds

export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export class Service {
  #askToken;
  #token = ""; // in memory alone
  #asking = null;

  // askToken(isAgain): a promise of the token, or of null when there is none.
  constructor(askToken) {
    this.#askToken = askToken;
  }

  model() {
    return this.#ask("/v1/model", { method: "GET" });
  }

  async caption(picture, options, signal, waits) {
    const answer = await this.#send("/v1/captions", picture, options, signal, waits);
    const [entry] = answer.captions;
    if (entry.error) throw new Problem(422, entry.error.code, entry.error.detail);
    return entry;
  }

  explain(picture, text, signal, waits) {
    return this.#send("/v1/explanations", picture, { text }, signal, waits);
  }

  neighbours(picture, signal, waits) {
    return this.#send("/v1/neighbours", picture, {}, signal, waits);
  }

  correct(picture, caption, was, signal, waits) {
    const body = new FormData();
    body.append("file", picture, "picture");
    body.append("caption", caption);
    body.append("was", was);
    return this.#ask("/v1/corrections", { method: "POST", body, signal }, waits);
  }

  // What `correct` answered with.
  async takeBack({ key, id }) {
    try {
      await this.#ask(`/v1/corrections/${key}/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error.code !== "no_correction") throw error; // somebody else took it back
    }
  }

  #send(path, picture, query, signal, waits) {
    const type = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
    const target = `${path}?${new URLSearchParams(query)}`;
    return this.#ask(target, { method: "POST", body: picture, headers: { "content-type": type }, signal }, waits);
  }

  // waits(seconds): called before each wait.
  async #ask(target, request, waits = () => {}) {
    for (let tries = 0; ; ) {
      const token = this.#token;
      const response = await this.#fetch(target, request, token);
      if (response.ok) return response.json();
      if (response.status === 401) {
        await this.#renew(token, request.signal);
        continue;
      }
      const problem = await problemOf(response);
      const asked = Number(response.headers.get("retry-after"));
      const isBusy = response.status === 429 || (response.status === 503 && tries < PATIENCE && asked > 0);
      if (!isBusy) throw problem;
      tries += 1;
      const seconds = Math.min(LONGEST, Math.max(asked || 1, 2 ** Math.min(tries - 3, 4)));
      waits(seconds);
      await pause(seconds * 1000 * (1 + Math.random() / 4), request.signal);
    }
  }

  async #fetch(target, request, token) {
    const headers = { ...request.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
    try {
      return await fetch(target, { ...request, headers, credentials: "omit", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "offline", "the service does not answer; is it still running?");
    }
  }

  // Many requests may find the token missing at once; people are asked once.
  async #renew(refused, signal) {
    if (this.#token !== refused) return;
    this.#asking ??= this.#askToken(refused !== "").finally(() => {
      this.#asking = null;
    });
    const token = await this.#asking;
    signal?.throwIfAborted();
    if (token === null) throw new Problem(401, "unauthorized", "this service wants a token");
    this.#token = token;
  }
}

async function problemOf(response) {
  try {
    const { code, detail } = await response.json();
    return new Problem(response.status, String(code), String(detail));
  } catch {
    return new Problem(response.status, "http", `the service answered with status ${response.status}`);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
