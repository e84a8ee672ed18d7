// Numbers and problems as people read them. Knows nothing of the page.

// 0.00123 → "0.12 %", with a space that does not break
export function percent(share) {
  const value = 100 * share;
  if (value >= 99.5) return value >= 100 ? "100 %" : "99 %";
  if (value >= 1) return `${Math.round(value)} %`;
  if (value >= 0.001) return `${Number(value.toPrecision(2))} %`;
  return "< 0.001 %";
}

// The probability of a caption, word for word: of the whole it is tiny, and smaller the more words there are. It is the
// geometric mean over words and the end, and of scripts without spaces over characters.
export function perWord({ caption, log_prob }) {
  const words = caption.split(/\s+/);
  return Math.exp(log_prob / ((words.length > 1 ? words.length : [...caption].length) + 1));
}

export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1000))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function pictures(count) {
  return count === 1 ? "1 picture" : `${count} pictures`;
}

const SENTENCES = {
  unsupported: "This is not a picture that I can read",
  corrupt: "This is not a picture that I can read",
  too_large: "This picture is too large",
  too_many_pixels: "This picture is too large",
  offline: "There is no answer",
  unauthorized: "Not allowed",
  busy: "The service is busy",
  timeout: "This took too long",
};

// What another try cannot mend.
export function isFinal(problem) {
  return ["unsupported", "corrupt", "too_large", "too_many_pixels"].includes(problem?.code);
}

// What is shown of a problem: a friendly beginning, and what the service says.
export function sentence(problem) {
  const detail = problem.message.replace(/^the picture: /, "");
  return `${SENTENCES[problem.code] ?? "This did not work"}: ${detail}`;
}

// The words of a caption with what stands between them: [{gap, word, place}], at the end {gap} alone.
// Words that are not in the text (a captioner splits texts by rules of its own) belong to the gaps.
export function align(text, words) {
  const small = text.toLowerCase();
  const isFaithful = small.length === text.length; // some letters grow when they become small
  const parts = [];
  let at = 0;
  words.forEach((word, place) => {
    const found = word && isFaithful ? small.indexOf(word.toLowerCase(), at) : -1;
    if (found < 0) return;
    parts.push({ gap: text.slice(at, found), word: text.slice(found, found + word.length), place });
    at = found + word.length;
  });
  return [...parts, { gap: text.slice(at) }];
}
