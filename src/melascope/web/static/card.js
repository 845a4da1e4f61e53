// The model's card, for people.

import { $, facts, make } from "./dom.js";
import { percent } from "./format.js";

const METHODS = { platt: "Platt's sigmoid", temperature: "temperature scaling", isotonic: "isotonic regression" };
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

export function drawCard(model) {
  const { card } = model;
  const sources = Object.entries(card.data.images?.train ?? {});
  const targets = Object.keys(card.operating_points);
  const unsure = Object.values(card.operating_points).flat().some((point) => !point.held);
  const cell = (point) => make("td", { class: "num" }, `${percent(point.threshold)}${point.held ? "" : " *"}`);
  const table = make(
    "table",
    {},
    make("thead", {}, make("tr", {},
      make("th", { scope: "col" }, "Sensitivity"),
      ...targets.map((name) => make("th", { scope: "col", class: "num" }, name)))),
    make("tbody", {}, ...card.operating_points[targets[0]].map((point, at) => make("tr", {},
      make("th", { scope: "row" }, `${Math.round(100 * point.sensitivity)} %${point.sensitivity === card.sensitivity ? ", in use" : ""}`),
      ...targets.map((name) => cell(card.operating_points[name][at]))))),
  );
  const sureness = `Called so from this probability on. Each sensitivity holds with ${Math.round(100 * card.confidence)} % confidence on lesions like those of its validation`;
  const { low, high, coverage, malignant, benign } = card.prediction_sets;
  const metrics = Object.entries(card.metrics).flatMap(([split, found]) =>
    Object.entries(found).filter(([, f]) => Number.isFinite(f?.roc_auc)).map(([name, f]) => [`ROC-AUC, ${name}`, `${f.roc_auc.toFixed(3)} on ${f.n} images of ${split}`]));
  $("card-content").replaceChildren(
    make("p", {}, card.intended_use),
    make("h3", {}, "Licence"), make("p", {}, sentence(card.license)),
    make("h3", {}, "What it is"),
    make("dl", { class: "facts" }, ...facts([
      ["Identity", model.identity],
      ["Network", `${card.architecture}, ${card.parameters.toLocaleString("en")} parameters; sees the ${card.crop} at ${card.input_size} × ${card.input_size} pixels`],
      ...Object.entries(card.outputs).map(([name, meaning]) => [`Output ${name}`, `${meaning}; calibrated by ${METHODS[card.calibration[name].method]}`]),
      ["Learned from", sources.map(([source, n]) => `${source} (${n} images)`).join(", ") || "not told"],
      ["Made", card.created.slice(0, 10) || "not told"],
      ...metrics,
    ])),
    make("h3", {}, "Thresholds"),
    table,
    make("p", { class: "muted small" }, `${sureness}${unsure ? "; where marked *, it was reached on too few lesions to be sure" : ""}.`),
    make("h3", {}, "Doubt"),
    make("p", {}, `Malignant is ruled out below ${percent(low)}, benign above ${percent(high)}: each wrongly in at most ${Math.round(100 * (1 - coverage))} % of lesions like the ${malignant} malignant and ${benign} benign ones that it rests on. Other clinics may have others.`),
    make("details", {}, make("summary", {}, "All of the card"), make("pre", { tabindex: 0 }, JSON.stringify(card, null, 2))),
  );
}
