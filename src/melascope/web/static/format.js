// What is said of answers, to a person and to a file.

const FIELDS = ["path", "status", "label", "confidence", "malignant", "melanoma", "threshold", "weak", "reason", "model"];

export const percent = (value) =>
  value === null || value === undefined ? "–" : value < 0.001 ? "below 0.1 %" : `${(100 * value).toFixed(1)} %`;
const HEADS = { malignant: "Malignant", benign: "Benign", refused: "Not judged", error: "Not readable", null: "…" };
export const kind = (row) => (row ? (row.label ?? row.status) : null);
export const head = (row) => HEADS[kind(row)];
const other = (row) => (row.label === "malignant" ? "benign" : "malignant");

export function remark(row) {
  if (!row) return "";
  if (row.status === "error") return `The file could not be read: ${row.reason}.`;
  if (row.reason) return row.reason;
  return row.weak ? `Weak: ${other(row)} cannot be ruled out. Do not rely on this answer.` : "";
}

export function summary(items) {
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

export function jsonOf(rows) {
  return `${JSON.stringify(rows.map((row) => Object.fromEntries(FIELDS.map((field) => [field, row[field]]))), null, 1)}\n`;
}

// As `melascope predict --format csv` writes it: nothing for null, True and False.
function csvCell(value) {
  const text = value === null ? "" : value === true ? "True" : value === false ? "False" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvOf(rows) {
  const lines = [FIELDS, ...rows.map((row) => FIELDS.map((field) => row[field]))];
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\n`).join("");
}

// Of a file that is not even sent.
export function unread(reason, threshold, model) {
  const empty = Object.fromEntries(FIELDS.map((field) => [field, null]));
  return { ...empty, status: "error", reason, threshold, model };
}
