// What the service tells of its captioner, as people read it.

import { megabytes } from "./text.js";

const byId = (id) => document.getElementById(id);

export function showAbout(model) {
  const words = model.words ? `, ${model.words.toLocaleString("en")} words` : "";
  byId("model").textContent = `Captions for pictures, by “${model.name}”${words}. It can be wrong: look before you use them.`;
  const most = model.limits?.file_bytes;
  const kept = model.corrections ? " Corrections are kept there, with their pictures, to learn from." : "";
  byId("fineprint").textContent = `One or many, or whole folders${most ? `; up to ${megabytes(most).replace(".0", "")} each` : ""}. They are sent to this service and nowhere else.${kept}`;
  const search = model.options?.beam > 1 ? `beam ${model.options.beam}` : "greedy"; // as captions are made here
  const scores = model.scores?.filter((each) => each.name === "CIDEr") ?? [];
  const score = scores.find((each) => each.search === search) ?? scores[0] ?? model.scores?.[0];
  const facts = {
    Name: model.name,
    Id: model.id,
    Encoder: model.encoder,
    Decoder: model.decoder,
    Vocabulary: model.words && `${model.words.toLocaleString("en")} words`,
    "Trained on": model.trained_on,
    "Quality on held-back pictures": score && `${score.name} ${Number(score.value).toFixed(1)} (${[score.split, score.search].filter(Boolean).join(", ")})`,
    Confidence: model.confidence ? "the chance that a caption is acceptable, measured on held-back pictures" : "not calibrated",
    "Where from": model.attention ? "where the captioner looks as it chooses a word" : "how much less likely a word becomes when a part of the picture is covered",
    Licences: Object.entries(model.licences ?? {}).map(([part, licence]) => `${part}: ${licence}`).join("; "),
  };
  byId("hint").hidden = !model.attention;
  byId("facts").replaceChildren();
  for (const [name, value] of Object.entries(facts)) {
    if (!value) continue;
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    byId("facts").append(term, text);
  }
  byId("about").hidden = false;
}
