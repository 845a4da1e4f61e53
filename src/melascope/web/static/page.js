// The page: takes images, asks the server about them, and shows what it says. Nothing is kept when the tab closes, but
// for the token, if the server has one.

import { drawCard } from "./card.js";
import { $, facts, make } from "./dom.js";
import { dropped, named, ofFolder } from "./files.js";
import { Trouble, ask } from "./server.js";
import { drawList, sorted, sortOnClick, urlOf } from "./table.js";
import { csvOf, head, jsonOf, kind, percent, remark, summary, unread } from "./format.js";

const AT_ONCE = 8; // files of a request
const BYTES_AT_ONCE = 32 * 2 ** 20;
const LANES = 2; // requests under way

const items = []; // {file, name, row, url, heats: {target: url | null}, picture: url, asking: what is on its way}
let model = null;
let chosen = null;
let running = false;
let round = 0; // what was asked before images were cleared, or at another operating point, counts no more

// ---- Asking the server

async function predict(batch, extra = {}) {
  const body = new FormData();
  for (const item of batch) body.append("files", item.file, item.file.name);
  const wanted = new URLSearchParams({ sensitivity: $("sensitivity").value, ...extra });
  return (await ask(`/v1/predictions?${wanted}`, { method: "POST", body })).predictions;
}

// ---- Taking images

function take(files) {
  const fresh = files.map(({ file, name }) => ({ file, name, row: null, heats: {}, asking: new Set() }));
  if (!fresh.length) {
    say("No image there.");
    return;
  }
  items.push(...fresh);
  chosen = fresh.length === 1 ? fresh[0] : items.length === fresh.length ? fresh[0] : chosen;
  $("intake").classList.add("small");
  $("intake-title").textContent = "Add more images";
  draw();
  if (model) judge();
}

// ---- Judging them

async function judge() {
  if (running) return;
  running = true;
  $("trouble").hidden = true;
  const lane = async () => {
    for (let batch = next(); batch.length; batch = next()) {
      const mine = round;
      const single = items.length === 1;
      const rows = await predict(batch, single ? { heat: target() } : {}).finally(() => {
        for (const item of batch) item.asked = false;
      });
      if (mine !== round) continue;
      batch.forEach((item, at) => settle(item, rows[at]));
      draw();
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: LANES }, lane));
  running = false;
  const failed = ends.find((end) => end.status === "rejected");
  if (failed) trouble(failed.reason);
  else if (next(true).length) return judge();
  else tell();
  draw();
}

function next(onlyLook = false) {
  const batch = [];
  let bytes = 0;
  for (const item of items) {
    if (item.row || item.asked) continue;
    if (model && item.file.size > model.limits.file_bytes) {
      item.row = unread(`larger than ${model.limits.file_bytes / 2 ** 20} MiB`, threshold(), model.identity);
      continue;
    }
    bytes += item.file.size;
    if (batch.length && (batch.length === AT_ONCE || bytes > BYTES_AT_ONCE)) break;
    batch.push(item);
  }
  if (!onlyLook) for (const item of batch) item.asked = true;
  return batch;
}

function settle(item, answer) {
  const { heat, picture, ...row } = answer;
  item.row = row;
  if (heat) item.heats[heat.target] = heat.responds ? blobUrl(heat.png, "image/png") : null;
  if (picture) item.picture = blobUrl(picture, "image/jpeg");
}

// The heat map of an image out of many is asked for when somebody looks at it; so is a picture that a browser cannot show.
async function complete(item, picture = false) {
  const wanted = target();
  const what = picture ? "picture" : wanted;
  const already = picture ? item.picture : wanted in item.heats;
  if (!item.row || item.row.status === "error" || already || item.asking.has(what)) return;
  item.asking.add(what);
  const mine = round;
  try {
    const [answer] = await predict([item], { heat: wanted, ...(picture ? { picture: true } : {}) });
    if (mine !== round) return;
    settle(item, answer);
  } catch (error) {
    trouble(error);
    return;
  } finally {
    item.asking.delete(what);
  }
  if (item === chosen) drawResult();
}

function blobUrl(text, type) {
  return URL.createObjectURL(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type }));
}


function forget() {
  round += 1;
  for (const item of items.splice(0)) {
    for (const made of [item.url, item.picture, ...Object.values(item.heats)]) if (made) URL.revokeObjectURL(made);
  }
  chosen = null;
  $("trouble").hidden = true;
  $("intake").classList.remove("small");
  $("intake-title").textContent = "Add dermoscopic images";
  draw();
  say("All images are cleared.");
  document.querySelector("[data-picks=files]").focus();
}

// ---- Words

const target = () => $("target").value || "malignant";
const threshold = () => {
  const at = Number($("sensitivity").value);
  return model.card.operating_points.malignant.find((point) => point.sensitivity === at).threshold;
};

function say(text) {
  $("live").textContent = text;
}

function tell() {
  if (items.length === 1) {
    const { row, name } = items[0];
    const number = row.label ? `, probability of malignancy ${percent(row.malignant)}` : "";
    say(`${name}: ${head(row)}${number}. ${remark(row)}`);
  } else if (items.length) {
    say(`All judged. ${summary(items)}`);
  }
}

function trouble(error) {
  if (!(error instanceof Trouble)) console.error(error);
  $("trouble-text").textContent = error instanceof Trouble ? error.message : "Something went wrong on this page.";
  $("trouble").hidden = false;
}

// ---- Drawing

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  const pause = running && items.length > 200 ? 500 : 0; // a long table is not made anew for every answer
  setTimeout(() => {
    drawing = false;
    drawResult();
    drawList(items, chosen, choose);
    const done = items.filter((item) => item.row).length;
    $("working").hidden = done === items.length || !$("trouble").hidden;
    $("progress").max = items.length || 1;
    if (items.length > 1) $("progress").value = done;
    else $("progress").removeAttribute("value");
    $("working-text").textContent = items.length > 1 ? `${done} of ${items.length} images` : "Looking at the image …";
    $("settings").hidden = !items.length;
  }, pause);
}

function drawResult() {
  const row = chosen?.row;
  $("result").hidden = !row;
  if (!row) return;
  const sort = kind(row);
  $("file").textContent = chosen.name;
  $("answer").textContent = head(row);
  $("answer").className = sort;
  $("remark").textContent = remark(row);
  $("remark").hidden = !remark(row);
  $("remark").className = `remark ${row.weak ? "weak" : sort}`;
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
    `Probability of malignancy ${percent(row.malignant)}. Called malignant from ${percent(row.threshold)} on. ${zone}.`,
  );
  const at = Number($("sensitivity").value);
  $("facts").replaceChildren(
    ...facts([
      ["Confidence", `${percent(row.confidence)}, the probability that the lesion is ${row.label}`],
      ...(row.melanoma === null ? [] : [["Melanoma", percent(row.melanoma)]]),
      ["Threshold", `${percent(row.threshold)}, for a sensitivity of ${Math.round(100 * at)} %`],
      ["Doubt", `${zone} (each wrongly in at most ${Math.round(100 * (1 - coverage))} % of lesions like those of its validation).`],
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
  const judged = row.status === "ok";
  for (const id of ["heat-controls", "heat-legend", "heat-note"]) $(id).hidden = !judged;
  const heat = judged ? chosen.heats[target()] : null;
  const on = judged && $("heat-on").checked;
  $("heat").hidden = !(on && heat);
  if (heat && $("heat").getAttribute("src") !== heat) $("heat").src = heat;
  $("heat").style.opacity = $("strength").value / 100;
  $("seen").classList.toggle("on", on);
  $("strength").disabled = !on;
  $("heat-legend").hidden = !judged || heat === null;
  $("heat-note").textContent =
    heat === null && judged
      ? `No place in the image speaks for ${target()}, so there is no heat to show.`
      : "It shows where the network responded, relative to its strongest place. It is not evidence. The network sees the central square alone.";
  if (judged && heat === undefined) complete(chosen);
}

$("lesion").addEventListener("load", (event) => {
  const { naturalWidth: width, naturalHeight: height } = event.target;
  $("frame").style.setProperty("--ratio", width / height);
});
$("lesion").addEventListener("error", () => {
  // A format that browsers do not show, such as TIFF or DICOM: the server can.
  $("lesion").hidden = true;
  const readable = chosen?.row && chosen.row.status !== "error";
  $("no-picture").hidden = Boolean(readable && !chosen.picture);
  if (readable && !chosen.picture) complete(chosen, true);
});

function choose(item) {
  if (!item.row) return;
  chosen = item;
  drawResult();
  drawList(items, chosen, choose);
  $("answer").focus({ preventScroll: true });
  $("result").scrollIntoView({ block: "start", behavior: "auto" });
}

// ---- Out of the page

function save(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const rowsOut = () => sorted(items).filter((item) => item.row).map((item) => ({ ...item.row, path: item.name }));

// ---- The model

async function meet() {
  model = await ask("/v1/model");
  $("identity").textContent = model.identity;
  $("licence").textContent = model.card.license;
  $("version").textContent = model.version;
  $("target").replaceChildren(...model.targets.map((name) => make("option", { value: name }, name)));
  $("target-label").hidden = model.targets.length < 2;
  $("sensitivity").replaceChildren(
    ...model.card.operating_points.malignant.map(({ sensitivity, threshold: from }) =>
      make("option", { value: sensitivity, selected: sensitivity === model.card.sensitivity },
        `sensitivity ${Math.round(100 * sensitivity)} %, malignant from ${percent(from)}`)),
  );
  drawCard(model);
}

// ---- What a person does

for (const button of document.querySelectorAll("[data-picks]")) {
  button.addEventListener("click", () => $(button.dataset.picks).click());
}
for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", (event) => {
    take(named(event.target.files));
    event.target.value = "";
  });
}
$("folder").addEventListener("change", (event) => {
  take(ofFolder([...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }))));
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take(named(event.clipboardData.files));
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
  take(await dropped(event.dataTransfer));
});
for (const id of ["heat-on", "strength", "target"]) $(id).addEventListener("input", drawResult);
$("sensitivity").addEventListener("change", () => {
  round += 1;
  for (const item of items) {
    item.row = null;
    item.asked = false;
  }
  draw();
  judge();
});
sortOnClick(() => drawList(items, chosen, choose), say);
$("csv").addEventListener("click", () => save("melascope.csv", "text/csv", csvOf(rowsOut())));
$("json").addEventListener("click", () => save("melascope.json", "application/json", jsonOf(rowsOut())));
$("clear").addEventListener("click", forget);
$("retry").addEventListener("click", start);
$("open-card").addEventListener("click", () => model && $("card").showModal());
document.querySelector("[data-closes]").addEventListener("click", () => $("card").close());
$("door").addEventListener("cancel", (event) => event.preventDefault());

async function start() {
  $("trouble").hidden = true;
  try {
    if (!model) await meet();
    judge();
  } catch (error) {
    trouble(error);
  }
}

start();
