// Requests to the server, with its token if it has one. While the server is busy, they are repeated.

import { $ } from "./dom.js";

const TIME_LIMIT_MS = 60_000;

// An error whose message is for the user.
export class ServerError extends Error {}

export async function request(path, options = {}) {
  for (let started = Date.now(); ; ) {
    const token = sessionStorage.getItem("token");
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new ServerError("The server does not answer. Is it still running?");
    }
    if (response.ok) return response.json();
    const { detail } = await response.json().catch(() => ({ detail: response.statusText }));
    if (response.status === 401) {
      await askForToken(Boolean(token));
    } else if (response.status === 503 && Date.now() - started < TIME_LIMIT_MS) {
      await new Promise((done) => setTimeout(done, 1000 * (Number(response.headers.get("Retry-After")) || 1)));
    } else {
      throw new ServerError(`The server refused the request: ${detail}.`);
    }
  }
}

let waitingForToken = null;

function askForToken(wrong) {
  waitingForToken ??= new Promise((done) => {
    if (wrong) $("login-text").textContent = "This is not the token of this server. Please try again.";
    $("token").value = "";
    $("login").showModal();
    $("login-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", $("token").value.trim());
      $("login").close();
      waitingForToken = null;
      done();
    };
  });
  return waitingForToken;
}
