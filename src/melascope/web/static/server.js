// Asking the server, with its token if it has one, and with patience while it is busy.

import { $ } from "./dom.js";

const PATIENCE_MS = 60_000;

export class Trouble extends Error {}

export async function ask(path, options = {}) {
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
