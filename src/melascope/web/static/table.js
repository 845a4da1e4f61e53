// The table of several images.

import { $, make } from "./dom.js";
import { heading, outcome, percent, remark, summary } from "./format.js";

let order = { key: null, up: true };

// The address of an item's file within this page.
export const urlOf = (item) => (item.url ??= URL.createObjectURL(item.file));

const probability = (row, name) => (row?.status === "ok" ? (row[name] ?? -1) : -1);
const KEYS = {
  name: (item) => item.name.toLowerCase(),
  answer: (item) => ["malignant", "benign", "refused", "error", null].indexOf(outcome(item.row)),
  malignant: (item) => probability(item.row, "malignant"),
  melanoma: (item) => probability(item.row, "melanoma"),
  remark: (item) => remark(item.row),
};

export function sorted(items) {
  if (!order.key) return items;
  const key = KEYS[order.key];
  const sign = order.up ? 1 : -1;
  return items.toSorted((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
}

export function drawList(items, chosen, choose) {
  $("list").hidden = items.length < 2;
  if (items.length < 2) return;
  $("summary").textContent = summary(items);
  for (const th of document.querySelectorAll("#list th[data-key]")) {
    if (th.dataset.key === order.key) th.setAttribute("aria-sort", order.up ? "ascending" : "descending");
    else th.removeAttribute("aria-sort");
  }
  const focused = document.activeElement?.closest?.("#rows tr")?.item;
  $("rows").replaceChildren(...sorted(items).map((item) => line(item, chosen, choose)));
  if (focused) [...$("rows").children].find((tr) => tr.item === focused)?.querySelector("button").focus();
}

// A line is made again only when its answer has changed.
function line(item, chosen, choose) {
  const version = item.row;
  if (!item.line || item.lineOf !== version) {
    const row = item.row;
    const pills = [make("span", { class: `pill ${outcome(row) ?? ""}` }, heading(row))];
    if (row?.weak) pills.push(make("span", { class: "pill weak" }, "weak"));
    const thumb = make("img", { class: "thumb", src: urlOf(item), alt: "", loading: "lazy", decoding: "async" });
    thumb.addEventListener("error", () => thumb.replaceWith(make("span", { class: "thumb" })));
    item.line = make(
      "tr",
      { onclick: () => choose(item) },
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

export function sortOnClick(redraw, announce) {
  for (const th of document.querySelectorAll("#list th[data-key]")) {
    th.querySelector("button").addEventListener("click", () => {
      const { key } = th.dataset;
      const numbers = key === "malignant" || key === "melanoma";
      order = { key, up: order.key === key ? !order.up : !numbers }; // numbers: the highest first
      redraw();
      announce(`Sorted by ${key}, ${order.up ? "ascending" : "descending"}.`);
    });
  }
}
