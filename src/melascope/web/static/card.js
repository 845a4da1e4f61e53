// The model's card, in words.

import { $, facts, make } from "./dom.js";
import { percent, wholePercent } from "./format.js";

const METHODS = { platt: "Platt's sigmoid", temperature: "temperature scaling", isotonic: "isotonic regression" };
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

export function drawCard(model) {
  const { card } = model;
  const sources = Object.entries(card.data.images?.train ?? {});
  const targets = Object.keys(card.operating_points);
  const unproven = Object.values(card.operating_points).flat().some((point) => !point.held);
  const cell = (point) => make("td", { class: "num" }, `${percent(point.threshold)}${point.held ? "" : " *"}`);
  const table = make(
    "table",
    {},
    make("thead", {}, make("tr", {},
      make("th", { scope: "col" }, "Sensitivity"),
      ...targets.map((name) => make("th", { scope: "col", class: "num" }, name)))),
    make("tbody", {}, ...card.operating_points[targets[0]].map((point, at) => make("tr", {},
      make("th", { scope: "row" }, `${wholePercent(point.sensitivity)}${point.sensitivity === card.sensitivity ? ", in use" : ""}`),
      ...targets.map((name) => cell(card.operating_points[name][at]))))),
  );
  const assurance = `The label applies from this probability on. Each sensitivity holds with ${wholePercent(card.confidence)} confidence for lesions like those of the validation images.`;
  const { low, high, coverage, malignant, benign } = card.prediction_sets;
  const metrics = Object.entries(card.metrics).flatMap(([split, figures]) =>
    Object.entries(figures).filter(([, f]) => Number.isFinite(f?.roc_auc)).map(([name, f]) => [`ROC-AUC, ${name}`, `${f.roc_auc.toFixed(3)} on ${f.n} images of ${split}`]));
  $("card-content").replaceChildren(
    make("p", {}, card.intended_use),
    make("h3", {}, "Licence"), make("p", {}, sentence(card.license)),
    make("h3", {}, "Description"),
    make("dl", { class: "facts" }, ...facts([
      ["Identity", model.identity],
      ["Network", `${card.architecture}, ${card.parameters.toLocaleString("en")} parameters; its input is the ${card.crop} at ${card.input_size} × ${card.input_size} pixels`],
      ...Object.entries(card.outputs).map(([name, meaning]) => [`Output ${name}`, `${meaning}; calibrated by ${METHODS[card.calibration[name].method]}`]),
      ["Trained on", sources.map(([source, n]) => `${source} (${n} images)`).join(", ") || "not recorded"],
      ["Created", card.created.slice(0, 10) || "not recorded"],
      ...metrics,
    ])),
    make("h3", {}, "Thresholds"),
    table,
    make("p", { class: "muted small" }, `${assurance}${unproven ? " Values marked * rest on too few lesions for that confidence." : ""}`),
    make("h3", {}, "Weak answers"),
    make("p", {}, `Malignant is ruled out below ${percent(low)}, benign above ${percent(high)}. An answer is weak if the other label is not ruled out. Each limit is wrong for at most ${wholePercent(1 - coverage)} of lesions like the ${malignant} malignant and ${benign} benign ones it was set on. Lesions in other clinics may differ.`),
    make("details", {}, make("summary", {}, "The whole card"), make("pre", { tabindex: 0 }, JSON.stringify(card, null, 2))),
  );
}
