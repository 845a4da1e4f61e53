// Texts for an answer, for a person and for a file.

const FIELDS = ["path", "status", "label", "confidence", "malignant", "melanoma", "threshold", "weak", "reason", "model"];

// The spaces before % do not break.
export const percent = (value) =>
  value === null || value === undefined ? "–" : value < 0.001 ? "below 0.1\u00a0%" : `${(100 * value).toFixed(1)}\u00a0%`;
export const wholePercent = (value) => `${Math.round(100 * value)}\u00a0%`;
const HEADINGS = { malignant: "Malignant", benign: "Benign", refused: "Not classified", error: "Unreadable", null: "…" };
export const outcome = (row) => (row ? (row.label ?? row.status) : null);
export const heading = (row) => HEADINGS[outcome(row)];
const other = (row) => (row.label === "malignant" ? "benign" : "malignant");

export function remark(row) {
  if (!row) return "";
  if (row.status === "error") return `The file could not be read: ${row.reason}.`;
  if (row.reason) return row.reason;
  return row.weak ? `Weak: ${other(row)} cannot be ruled out. Do not rely on this answer.` : "";
}

export function summary(items) {
  const rows = items.map((item) => item.row).filter(Boolean);
  const counts = [
    ["malignant", (row) => row.label === "malignant"],
    ["benign", (row) => row.label === "benign"],
    ["not classified", (row) => row.status === "refused"],
    ["unreadable", (row) => row.status === "error"],
  ].map(([words, test]) => [rows.filter(test).length, words]);
  const parts = counts.filter(([n]) => n).map(([n, words]) => `${n} ${words}`);
  const weak = rows.filter((row) => row.weak).length;
  const note = weak ? ` ${weak} of these answers ${weak === 1 ? "is" : "are"} weak.` : "";
  return `${items.length} images${parts.length ? ": " : ""}${parts.join(", ")}.${note}`;
}

export function toJson(rows) {
  return `${JSON.stringify(rows.map((row) => Object.fromEntries(FIELDS.map((field) => [field, row[field]]))), null, 1)}\n`;
}

// As `melascope predict --format csv` writes it: nothing for null, True and False.
function csvCell(value) {
  const text = value === null ? "" : value === true ? "True" : value === false ? "False" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function toCsv(rows) {
  const lines = [FIELDS, ...rows.map((row) => FIELDS.map((field) => row[field]))];
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\n`).join("");
}

// The row of a file that is not sent.
export function unreadable(reason, threshold, model) {
  const empty = Object.fromEntries(FIELDS.map((field) => [field, null]));
  return { ...empty, status: "error", reason, threshold, model };
}
