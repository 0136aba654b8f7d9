// Asks the app. At most one request is in flight, and the newest drawing wins: what was asked for meanwhile is replaced,
// not queued, so a slow server makes the page skip drawings but never fall behind the pen.

import { readFrame } from "./frames.js";

const PATIENCE_MS = 20_000; // with an app that says nothing; with the model server it has less itself

// The input is at fault, in the server's words. All other errors are the server's: the same input may be right later.
export class Refused extends Error {}

export class Asker {
  #next = null;
  #busy = false;

  get hasNothingNewer() {
    return this.#next === null;
  }

  // A job is `{prepare, done(answer), failed(error)}`. `prepare` is called when the request is about to leave, so that
  // no work goes into drawings that are never sent; it returns `{body, type, maps}`, or null to ask nothing after all.
  async ask(job) {
    this.#next = job;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#next) {
        const current = this.#next;
        this.#next = null;
        await this.#run(current);
      }
    } finally {
      this.#busy = false;
    }
  }

  async #run(job) {
    const request = job.prepare();
    if (!request) return;
    let answer;
    try {
      answer = await classify(request);
    } catch (error) {
      job.failed(error);
      return;
    }
    job.done(answer);
  }
}

export async function describe() {
  return readFrame(await fetched("/model"));
}

// Whether the model server serves now; null if not even this app answers.
export async function isServing() {
  try {
    const response = await fetch("/status");
    return (await response.json()).serving;
  } catch {
    return null;
  }
}

export async function samples() {
  return JSON.parse(new TextDecoder().decode(await fetched("/samples")));
}

async function classify({ body, type = "application/octet-stream", maps = [] }) {
  const options = { method: "POST", body, headers: { "content-type": type } };
  return readFrame(await fetched(`/classify?maps=${maps.join()}`, options));
}

async function fetched(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Error("The playground itself is away.");
  }
  if (response.ok) return response.arrayBuffer();
  const text = await reason(response);
  throw response.status >= 500 ? new Error(text) : new Refused(text);
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return response.status === 413 ? "That is too large for the server." : "The playground refused the request.";
  }
}
