// The page: takes images, asks the server about them, and shows what it says. Nothing is kept when the tab closes, but
// for the token, if the server has one.

const FIELDS = ["path", "status", "label", "confidence", "malignant", "melanoma", "threshold", "weak", "reason", "model"];
const IMAGES = /\.(jpe?g|png|tiff?|bmp|webp|dcm)$/i;
const MASK = /_segmentation\.[a-z]+$/i;
const AT_ONCE = 8; // files of a request
const BYTES_AT_ONCE = 32 * 2 ** 20;
const LANES = 2; // requests under way
const PATIENCE_MS = 60_000; // with a server that is busy

const $ = (id) => document.getElementById(id);
const items = []; // {file, name, row, url, heats: {target: url | null}, picture}
let model = null;
let chosen = null;
let running = false;
let round = 0; // what was asked before images were cleared, or at another operating point, counts no more
let order = { key: null, up: true };

// ---- Asking the server

class Trouble extends Error {}

async function ask(path, options = {}) {
  for (let started = Date.now(); ; ) {
    const token = sessionStorage.getItem("token");
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Trouble("The server does not answer. Is it still running?");
    }
    if (answer.ok) return answer.json();
    const { detail } = await answer.json().catch(() => ({ detail: answer.statusText }));
    if (answer.status === 401) {
      await askForToken(Boolean(token));
    } else if (answer.status === 503 && Date.now() - started < PATIENCE_MS) {
      await new Promise((done) => setTimeout(done, 1000 * (Number(answer.headers.get("Retry-After")) || 1)));
    } else {
      throw new Trouble(`The server refused: ${detail}.`);
    }
  }
}

let waitingForToken = null;

function askForToken(wrong) {
  waitingForToken ??= new Promise((done) => {
    if (wrong) $("door-text").textContent = "That was not the token of this server. Please try again.";
    $("token").value = "";
    $("door").showModal();
    $("door-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", $("token").value.trim());
      $("door").close();
      waitingForToken = null;
      done();
    };
  });
  return waitingForToken;
}

async function predict(batch, extra = {}) {
  const body = new FormData();
  for (const item of batch) body.append("files", item.file, item.file.name);
  const wanted = new URLSearchParams({ sensitivity: $("sensitivity").value, ...extra });
  return (await ask(`/v1/predictions?${wanted}`, { method: "POST", body })).predictions;
}

// ---- Taking images

function take(files) {
  const fresh = [...files].map(({ file, name }) => ({ file, name, row: null, url: null, heats: {}, picture: null }));
  if (!fresh.length) {
    say("No image there.");
    return;
  }
  items.push(...fresh);
  chosen = fresh.length === 1 ? fresh[0] : items.length === fresh.length ? fresh[0] : chosen;
  $("intake").classList.add("small");
  $("intake-title").textContent = "Add more images";
  draw();
  judge();
}

const named = (files) => [...files].map((file) => ({ file, name: file.name }));

// Of a folder, images alone: no hidden files, no lesion masks; as the command does.
const ofFolder = (files) =>
  files
    .filter(({ name }) => IMAGES.test(name) && !MASK.test(name) && !/(^|\/)\./.test(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return named(transfer.files);
  const found = [];
  const walk = async (entry, inFolder) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      const one = { file, name: inFolder ? entry.fullPath.slice(1) : file.name };
      found.push(...(inFolder ? ofFolder([one]) : [one]));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // a hundred at a time
      if (!some.length) return;
      for (const inner of some) await walk(inner, true);
    }
  };
  for (const entry of entries) await walk(entry, false);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
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
      item.row = unread(item, `larger than ${model.limits.file_bytes / 2 ** 20} MiB`);
      continue;
    }
    bytes += item.file.size;
    if (batch.length && (batch.length === AT_ONCE || bytes > BYTES_AT_ONCE)) break;
    batch.push(item);
  }
  if (!onlyLook) for (const item of batch) item.asked = true;
  return batch;
}

function unread(item, reason) {
  const empty = Object.fromEntries(FIELDS.map((field) => [field, null]));
  return { ...empty, status: "error", reason, threshold: threshold(), model: model.identity };
}

function settle(item, answer) {
  const { heat, picture, ...row } = answer;
  item.row = row;
  if (heat !== undefined) item.heats[target()] = heat?.responds ? blobUrl(heat.png, "image/png") : null;
  if (picture) item.picture = blobUrl(picture, "image/jpeg");
}

// The heat map of an image out of many is asked for when somebody looks at it; so is a picture that a browser cannot show.
async function complete(item, picture = false) {
  const wanted = target();
  if (!item.row || item.row.status === "error" || (wanted in item.heats && !picture)) return;
  const mine = round;
  try {
    const [answer] = await predict([item], { heat: wanted, ...(picture ? { picture: true } : {}) });
    if (mine !== round) return;
    settle(item, answer);
    if (item === chosen) drawResult();
  } catch (error) {
    trouble(error);
  }
}

function blobUrl(text, type) {
  return URL.createObjectURL(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type }));
}

const url = (item) => (item.url ??= URL.createObjectURL(item.file));

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

const percent = (value) =>
  value === null || value === undefined ? "–" : value < 0.001 ? "below 0.1 %" : `${(100 * value).toFixed(1)} %`;
const HEADS = { malignant: "Malignant", benign: "Benign", refused: "Not judged", error: "Not readable", null: "…" };
const kind = (row) => (row ? (row.label ?? row.status) : null);
const head = (row) => HEADS[kind(row)];
const other = (row) => (row.label === "malignant" ? "benign" : "malignant");
const target = () => $("target").value || "malignant";
const threshold = () => {
  const at = Number($("sensitivity").value);
  return model.card.operating_points.malignant.find((point) => point.sensitivity === at).threshold;
};

function remark(row) {
  if (!row) return "";
  if (row.status === "error") return `The file could not be read: ${row.reason}.`;
  if (row.reason) return row.reason;
  return row.weak ? `Weak: ${other(row)} cannot be ruled out. Do not rely on this answer.` : "";
}

function say(text) {
  $("live").textContent = text;
}

function tell() {
  if (items.length === 1) {
    const { row, name } = items[0];
    const number = row.label ? `, probability of malignancy ${percent(row.malignant)}` : "";
    say(`${name}: ${head(row)}${number}. ${remark(row)}`);
  } else if (items.length) {
    say(`All judged. ${summary()}`);
  }
}

function trouble(error) {
  if (!(error instanceof Trouble)) console.error(error);
  $("trouble-text").textContent = error instanceof Trouble ? error.message : "Something went wrong on this page.";
  $("trouble").hidden = false;
}

function summary() {
  const rows = items.map((item) => item.row).filter(Boolean);
  const count = (what, test) => [rows.filter(test).length, what];
  const counts = [
    count("malignant", (row) => row.label === "malignant"),
    count("benign", (row) => row.label === "benign"),
    count("weak", (row) => row.weak),
    count("not judged", (row) => row.status === "refused"),
    count("not readable", (row) => row.status === "error"),
  ];
  const told = counts.filter(([n]) => n).map(([n, what]) => (what === "weak" ? `${n} of these answers weak` : `${n} ${what}`));
  return `${items.length} images${told.length ? ": " : ""}${told.join(", ")}.`;
}

// ---- Drawing

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const facts = (pairs) => pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  const pause = running && items.length > 200 ? 500 : 0; // a long table is not made anew for every answer
  setTimeout(() => {
    drawing = false;
    drawResult();
    drawList();
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
  const source = chosen.picture ?? url(chosen);
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

const shown = (row, name) => (row?.status === "ok" ? (row[name] ?? -1) : -1);
const KEYS = {
  name: (item) => item.name.toLowerCase(),
  answer: (item) => ["malignant", "benign", "refused", "error", null].indexOf(kind(item.row)),
  malignant: (item) => shown(item.row, "malignant"),
  melanoma: (item) => shown(item.row, "melanoma"),
  remark: (item) => remark(item.row),
};

function sorted() {
  if (!order.key) return items;
  const key = KEYS[order.key];
  const sign = order.up ? 1 : -1;
  return items.toSorted((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
}

function drawList() {
  $("list").hidden = items.length < 2;
  if (items.length < 2) return;
  $("summary").textContent = summary();
  for (const th of document.querySelectorAll("#list th[data-key]")) {
    if (th.dataset.key === order.key) th.setAttribute("aria-sort", order.up ? "ascending" : "descending");
    else th.removeAttribute("aria-sort");
  }
  const focused = document.activeElement?.closest?.("#rows tr")?.item;
  $("rows").replaceChildren(...sorted().map(line));
  if (focused) [...$("rows").children].find((tr) => tr.item === focused)?.querySelector("button").focus();
}

// A line is made anew only when its answer came.
function line(item) {
  const version = item.row;
  if (!item.line || item.lineOf !== version) {
    const row = item.row;
    const pills = [make("span", { class: `pill ${kind(row) ?? ""}` }, head(row))];
    if (row?.weak) pills.push(make("span", { class: "pill weak" }, "weak"));
    const thumb = make("img", { class: "thumb", src: url(item), alt: "", loading: "lazy", decoding: "async" });
    thumb.addEventListener("error", () => thumb.replaceWith(make("span", { class: "thumb" })));
    const show = () => choose(item);
    item.line = make(
      "tr",
      { onclick: show },
      make("th", { scope: "row" }, make("div", { class: "name" }, thumb, make("button", { type: "button" }, item.name))),
      make("td", {}, make("div", { class: "pills" }, ...pills)),
      make("td", { class: "num" }, row?.status === "ok" ? percent(row.malignant) : "–"),
      make("td", { class: "num" }, row?.status === "ok" ? percent(row.melanoma) : "–"),
      make("td", { class: "remark-cell" }, remark(row)),
    );
    item.line.item = item;
    item.lineOf = version;
  }
  item.line.classList.toggle("chosen", item === chosen);
  const button = item.line.querySelector("button");
  if (item === chosen) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
  return item.line;
}

function choose(item) {
  if (!item.row) return;
  chosen = item;
  drawResult();
  drawList();
  $("answer").focus({ preventScroll: true });
  $("result").scrollIntoView({ block: "start", behavior: "auto" });
}

// ---- Out of the page

function save(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const rowsOut = () => sorted().filter((item) => item.row).map((item) => ({ ...item.row, path: item.name }));

// As `melascope predict --format csv` writes it: nothing for null, True and False.
function csvCell(value) {
  const text = value === null ? "" : value === true ? "True" : value === false ? "False" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv() {
  const lines = [FIELDS, ...rowsOut().map((row) => FIELDS.map((field) => row[field]))];
  save("melascope.csv", "text/csv", lines.map((cells) => `${cells.map(csvCell).join(",")}\n`).join(""));
}

function saveJson() {
  const rows = rowsOut().map((row) => Object.fromEntries(FIELDS.map((field) => [field, row[field]])));
  save("melascope.json", "application/json", `${JSON.stringify(rows, null, 1)}\n`);
}

// ---- The model's card

const METHODS = { platt: "Platt's sigmoid", temperature: "temperature scaling", isotonic: "isotonic regression" };
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function drawCard() {
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
  drawCard();
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
for (const th of document.querySelectorAll("#list th[data-key]")) {
  th.querySelector("button").addEventListener("click", () => {
    const { key } = th.dataset;
    const numbers = key === "malignant" || key === "melanoma";
    order = { key, up: order.key === key ? !order.up : !numbers }; // of numbers, the highest first
    drawList();
    say(`Sorted by ${key}, ${order.up ? "ascending" : "descending"}.`);
  });
}
$("csv").addEventListener("click", saveCsv);
$("json").addEventListener("click", saveJson);
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
