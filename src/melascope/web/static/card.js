// The model's card, for people.

import { $, facts, make } from "./dom.js";
import { percent } from "./words.js";

const METHODS = { platt: "Platt's sigmoid", temperature: "temperature scaling", isotonic: "isotonic regression" };
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

export function drawCard(model) {
  const { card } = model;
  const points = Object.entries(card.operating_points).flatMap(([name, list]) => list.map((point) => [name, point]));
  const sources = Object.entries(card.data.images?.train ?? {});
  const table = make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...["Target", "Sensitivity wanted", "Yes from", "Borne out"].map((text, at) => make("th", { scope: "col", class: at === 1 || at === 2 ? "num" : null }, text)))),
    make("tbody", {}, ...points.map(([name, point]) =>
      make("tr", {}, make("td", {}, name), make("td", { class: "num" }, `${Math.round(100 * point.sensitivity)} %`),
        make("td", { class: "num" }, percent(point.threshold)), make("td", {}, point.held ? "with 95 % confidence, on validation" : "reached, on too few lesions to be sure")))),
  );
  const { low, high, coverage, malignant, benign } = card.prediction_sets;
  const metrics = Object.entries(card.metrics).flatMap(([split, found]) =>
    Object.entries(found).map(([name, f]) => [`ROC-AUC, ${name}`, `${f.roc_auc.toFixed(3)} on ${f.n} images of ${split}`]));
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
    make("h3", {}, "Thresholds"), make("div", { class: "scroll-x" }, table),
    make("h3", {}, "Doubt"),
    make("p", {}, `Malignant is ruled out below ${percent(low)}, benign above ${percent(high)}: each wrongly in at most ${Math.round(100 * (1 - coverage))} % of lesions like the ${malignant} malignant and ${benign} benign ones that it rests on. Other clinics may have others.`),
    make("details", {}, make("summary", {}, "All of the card"), make("pre", { tabindex: 0 }, JSON.stringify(card, null, 2))),
  );
}
