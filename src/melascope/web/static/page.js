// The page: takes images, sends them to the server and shows the answers. Nothing outlives the tab.

import { drawCard } from "./card.js";
import { $, facts, make } from "./dom.js";
import { dropped, imagesOf, named } from "./files.js";
import { heading, outcome, percent, remark, summary, toCsv, toJson, unreadable, wholePercent } from "./format.js";
import { ServerError, request } from "./server.js";
import { drawList, sorted, sortOnClick, urlOf } from "./table.js";

const BATCH = 8; // files in a request
const BATCH_BYTES = 32 * 2 ** 20;
const CONCURRENT = 2; // requests at once

const items = []; // {file, name, row, url, heats: {target: url | null}, picture: url, sent, loading: names of details}
let model = null;
let chosen = null;
let running = false;
let round = 0; // answers from before a clearing or a change of the operating point are dropped

// ---- Requests

async function predict(batch, extra = {}) {
  const body = new FormData();
  for (const item of batch) body.append("files", item.file, item.file.name);
  const query = new URLSearchParams({ sensitivity: $("sensitivity").value, ...extra });
  return (await request(`/v1/predictions?${query}`, { method: "POST", body })).predictions;
}

// ---- Adding and clearing images

function add(files) {
  const added = files.map(({ file, name }) => ({ file, name, row: null, heats: {}, loading: new Set() }));
  if (!added.length) {
    announce("No images were added.");
    return;
  }
  items.push(...added);
  if (added.length === 1 || items.length === added.length) [chosen] = added;
  $("intake").classList.add("small");
  $("intake-title").textContent = "Add more images";
  draw();
  if (model) classify();
}

// ---- Classifying them

async function classify() {
  if (running) return;
  running = true;
  $("problem").hidden = true;
  const work = async () => {
    for (let batch = next(); batch.length; batch = next()) {
      const started = round;
      const single = items.length === 1;
      const rows = await predict(batch, single ? { heat: target() } : {}).finally(() => {
        for (const item of batch) item.sent = false;
      });
      if (started !== round) continue;
      batch.forEach((item, at) => store(item, rows[at]));
      draw();
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: CONCURRENT }, work));
  running = false;
  const failed = ends.find((end) => end.status === "rejected");
  if (failed) show(failed.reason);
  else if (next(true).length) return classify();
  else announceResult();
  draw();
}

function next(peek = false) {
  const batch = [];
  let bytes = 0;
  for (const item of items) {
    if (item.row || item.sent) continue;
    if (model && item.file.size > model.limits.file_bytes) {
      item.row = unreadable(`larger than ${model.limits.file_bytes / 2 ** 20} MiB`, threshold(), model.identity);
      continue;
    }
    bytes += item.file.size;
    if (batch.length && (batch.length === BATCH || bytes > BATCH_BYTES)) break;
    batch.push(item);
  }
  if (!peek) for (const item of batch) item.sent = true;
  return batch;
}

function store(item, answer) {
  const { heat, picture, ...row } = answer;
  item.row = row;
  if (heat) item.heats[heat.target] = heat.responds ? blobUrl(heat.png, "image/png") : null;
  if (picture) item.picture = blobUrl(picture, "image/jpeg");
}

// Details of the chosen image: its heat map if it came among many, and a picture if the browser cannot show the file.
async function loadDetail(item, picture = false) {
  const heat = target();
  const detail = picture ? "picture" : heat;
  const present = picture ? item.picture : heat in item.heats;
  if (!item.row || item.row.status === "error" || present || item.loading.has(detail)) return;
  item.loading.add(detail);
  const started = round;
  try {
    const [answer] = await predict([item], { heat, ...(picture ? { picture: true } : {}) });
    if (started !== round) return;
    store(item, answer);
  } catch (error) {
    show(error);
    return;
  } finally {
    item.loading.delete(detail);
  }
  if (item === chosen) drawResult();
}

function blobUrl(text, type) {
  return URL.createObjectURL(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type }));
}

function clear() {
  round += 1;
  for (const item of items.splice(0)) {
    for (const made of [item.url, item.picture, ...Object.values(item.heats)]) if (made) URL.revokeObjectURL(made);
  }
  chosen = null;
  $("problem").hidden = true;
  $("intake").classList.remove("small");
  $("intake-title").textContent = "Add dermoscopic images";
  draw();
  announce("All images are cleared.");
  document.querySelector("[data-picks=files]").focus();
}

// ---- Words

const target = () => $("target").value || "malignant";
const threshold = () => {
  const at = Number($("sensitivity").value);
  return model.card.operating_points.malignant.find((point) => point.sensitivity === at).threshold;
};

function announce(text) {
  $("live").textContent = text;
}

function announceResult() {
  if (items.length === 1) {
    const { row, name } = items[0];
    const number = row.label ? `, probability of malignancy ${percent(row.malignant)}` : "";
    announce(`${name}: ${heading(row)}${number}. ${remark(row)}`);
  } else if (items.length) {
    announce(`All images are classified. ${summary(items)}`);
  }
}

function show(error) {
  const known = error instanceof ServerError;
  if (!known) console.error(error);
  $("problem-text").textContent = known ? error.message : "Something went wrong on this page.";
  $("problem").hidden = false;
}

// ---- Drawing

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  const pause = running && items.length > 200 ? 500 : 0; // a long table is not drawn again for each answer
  setTimeout(() => {
    drawing = false;
    drawResult();
    drawList(items, chosen, choose);
    const done = items.filter((item) => item.row).length;
    $("working").hidden = done === items.length || !$("problem").hidden;
    $("progress").max = items.length || 1;
    if (items.length > 1) $("progress").value = done;
    else $("progress").removeAttribute("value");
    $("working-text").textContent = items.length > 1 ? `${done} of ${items.length} images` : "Classifying the image …";
    $("settings").hidden = !items.length;
  }, pause);
}

function drawResult() {
  const row = chosen?.row;
  $("result").hidden = !row;
  if (!row) return;
  const kind = outcome(row);
  $("file").textContent = chosen.name;
  $("answer").textContent = heading(row);
  $("answer").className = kind;
  $("remark").textContent = remark(row);
  $("remark").hidden = !remark(row);
  $("remark").className = `remark ${row.weak ? "weak" : kind}`;
  $("numbers").hidden = row.status !== "ok";
  if (row.status === "ok") drawNumbers(row);
  drawPicture(row);
}

function drawNumbers(row) {
  const { low, high, coverage } = model.card.prediction_sets;
  const ends = [low, high, row.threshold];
  const style = $("scale").style;
  style.setProperty("--p", row.malignant);
  style.setProperty("--t", row.threshold);
  style.setProperty("--low", Math.min(...ends));
  style.setProperty("--high", Math.max(...ends));
  $("pin").textContent = percent(row.malignant);
  const zone = `Malignant is ruled out below ${percent(low)}, benign above ${percent(high)}`;
  $("scale").setAttribute(
    "aria-label",
    `Probability of malignancy ${percent(row.malignant)}. The threshold is ${percent(row.threshold)}. ${zone}.`,
  );
  const at = Number($("sensitivity").value);
  $("facts").replaceChildren(
    ...facts([
      ["Confidence", `${percent(row.confidence)}, the probability that the lesion is ${row.label}`],
      ...(row.melanoma === null ? [] : [["Melanoma", percent(row.melanoma)]]),
      ["Threshold", `${percent(row.threshold)}, for a sensitivity of ${wholePercent(at)}`],
      ["In doubt", `${zone}. Each limit is wrong for at most ${wholePercent(1 - coverage)} of lesions like those of the validation images.`],
      ["Model", row.model],
    ]),
  );
}

function drawPicture(row) {
  const lesion = $("lesion");
  const source = chosen.picture ?? urlOf(chosen);
  if (lesion.getAttribute("src") !== source) {
    lesion.hidden = false;
    $("no-picture").hidden = true;
    lesion.src = source;
  }
  lesion.alt = `The image ${chosen.name}`;
  const classified = row.status === "ok";
  for (const id of ["heat-controls", "heat-legend", "heat-note"]) $(id).hidden = !classified;
  const heat = classified ? chosen.heats[target()] : null;
  const on = classified && $("heat-on").checked;
  $("heat").hidden = !(on && heat);
  if (heat && $("heat").getAttribute("src") !== heat) $("heat").src = heat;
  $("heat").style.opacity = $("strength").value / 100;
  $("seen").classList.toggle("on", on);
  $("strength").disabled = !on;
  $("heat-legend").hidden = !classified || heat === null;
  $("heat-note").textContent =
    heat === null && classified
      ? `No place in the image responds to ${target()}, so the heat map is empty.`
      : "The heat map shows where the network responded, relative to the strongest place of the image. It is not evidence. The network sees only the central square.";
  if (classified && heat === undefined) loadDetail(chosen);
}

$("lesion").addEventListener("load", (event) => {
  const { naturalWidth: width, naturalHeight: height } = event.target;
  $("frame").style.setProperty("--ratio", width / height);
});
$("lesion").addEventListener("error", () => {
  // Browsers do not show formats such as TIFF and DICOM, but the server converts them.
  $("lesion").hidden = true;
  const readable = chosen?.row && chosen.row.status !== "error";
  $("no-picture").hidden = Boolean(readable && !chosen.picture);
  if (readable && !chosen.picture) loadDetail(chosen, true);
});

function choose(item) {
  if (!item.row) return;
  chosen = item;
  drawResult();
  drawList(items, chosen, choose);
  $("answer").focus({ preventScroll: true });
  $("result").scrollIntoView({ block: "start", behavior: "auto" });
}

// ---- Export

function save(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const exported = () => sorted(items).filter((item) => item.row).map((item) => ({ ...item.row, path: item.name }));

// ---- The model

async function loadModel() {
  model = await request("/v1/model");
  $("identity").textContent = model.identity;
  $("licence").textContent = model.card.license;
  $("version").textContent = model.version;
  $("target").replaceChildren(...model.targets.map((name) => make("option", { value: name }, name)));
  $("target-label").hidden = model.targets.length < 2;
  $("sensitivity").replaceChildren(
    ...model.card.operating_points.malignant.map(({ sensitivity, threshold: from }) =>
      make("option", { value: sensitivity, selected: sensitivity === model.card.sensitivity },
        `sensitivity ${wholePercent(sensitivity)}, threshold ${percent(from)}`)),
  );
  drawCard(model);
}

// ---- Events

for (const button of document.querySelectorAll("[data-picks]")) {
  button.addEventListener("click", () => $(button.dataset.picks).click());
}
for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", (event) => {
    add(named(event.target.files));
    event.target.value = "";
  });
}
$("folder").addEventListener("change", (event) => {
  add(imagesOf([...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }))));
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) add(named(event.clipboardData.files));
});
let depth = 0;
document.addEventListener("dragenter", (event) => {
  event.preventDefault();
  depth += 1;
  $("intake").classList.add("over");
});
document.addEventListener("dragleave", () => {
  depth -= 1;
  if (!depth) $("intake").classList.remove("over");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  depth = 0;
  $("intake").classList.remove("over");
  add(await dropped(event.dataTransfer));
});
for (const id of ["heat-on", "strength", "target"]) $(id).addEventListener("input", drawResult);
$("sensitivity").addEventListener("change", () => {
  round += 1;
  for (const item of items) {
    item.row = null;
    item.sent = false;
  }
  draw();
  classify();
});
sortOnClick(() => drawList(items, chosen, choose), announce);
$("csv").addEventListener("click", () => save("melascope.csv", "text/csv", toCsv(exported())));
$("json").addEventListener("click", () => save("melascope.json", "application/json", toJson(exported())));
$("clear").addEventListener("click", clear);
$("retry").addEventListener("click", start);
$("open-card").addEventListener("click", () => model && $("card").showModal());
document.querySelector("[data-closes]").addEventListener("click", () => $("card").close());
$("login").addEventListener("cancel", (event) => event.preventDefault());

async function start() {
  $("problem").hidden = true;
  try {
    if (!model) await loadModel();
    classify();
  } catch (error) {
    show(error);
  }
}

start();
