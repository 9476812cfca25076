// Everything that is asked of the service: with the API key when there is one, and errors in the service's own words.

const KEY = "maquette.key";

// What the service answered, when that was no.
export class ApiError extends Error {
  constructor(status, told, retryAfter) {
    super(told.error || `the service answered ${status}`);
    this.status = status;
    this.code = told.code || "";
    this.retryAfter = retryAfter;
  }
}

// Nobody answered.
export class Unreachable extends Error {
  constructor() {
    super("The service cannot be reached.");
  }
}

// Tells "lost" and "found" when the service goes and comes back, and "key" when the key changes.
export const connection = new EventTarget();
let reachable = true;

function noteReached(now) {
  if (now === reachable) return;
  reachable = now;
  connection.dispatchEvent(new Event(now ? "found" : "lost"));
}

export const apiKey = () => sessionStorage.getItem(KEY) || "";

export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  connection.dispatchEvent(new Event("key"));
}

let askForKey = async () => "";
let asking = null;

// The page says how a person is asked for a key: (problem) => key, or "" for not now.
export function onKeyWanted(ask) {
  askForKey = ask;
}

// True once there is a key that the refused request did not have. All refused requests wait for one question.
async function newKey(refused) {
  if (apiKey() && apiKey() !== refused) return true;
  asking ??= askForKey(refused ? "The service does not know this key." : "").finally(() => (asking = null));
  const key = await asking;
  if (key && key !== apiKey()) setKey(key);
  return Boolean(key);
}

const withKey = (headers, key) => (key ? { ...headers, "X-API-Key": key } : headers);

// The answer of a request that went well. `quiet`: one that nobody asked for, which asks nobody for a key either.
export async function request(path, { headers = {}, quiet = false, ...options } = {}) {
  const key = apiKey();
  const response = await reach(path, { ...options, headers: withKey(headers, key) });
  if (response.ok) return response;
  const error = await refusal(response);
  if (!quiet && error.code === "api_key_required" && (await newKey(key))) return request(path, { headers, ...options });
  throw error;
}

async function reach(path, options) {
  try {
    const response = await fetch(path, options);
    noteReached(true);
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    noteReached(false);
    throw new Unreachable();
  }
}

const refusal = async (response) =>
  new ApiError(
    response.status,
    await response.json().catch(() => ({})),
    retryAfter(response.headers.get("Retry-After")),
  );

const retryAfter = (text) => (Number(text) > 0 ? Number(text) : 0);

export const getJson = async (path, options) =>
  (await request(path, { ...options, headers: { Accept: "application/json" } })).json();

export const remove = (jobId) => request(`/jobs/${jobId}`, { method: "DELETE" });

// Never deletes, also when the job ends while the button is being pressed.
export const cancel = (jobId) => request(`/jobs/${jobId}/cancel`, { method: "POST" });

// Object URLs of files: a key cannot travel in an <img src>, so files are fetched and shown from memory.
export class Files {
  #urls = new Map();

  url(path) {
    if (!this.#urls.has(path)) {
      const made = request(path).then(async (response) => URL.createObjectURL(await response.blob()));
      made.catch(() => this.#urls.delete(path));
      this.#urls.set(path, made);
    }
    return this.#urls.get(path);
  }

  clear() {
    for (const made of this.#urls.values()) made.then(URL.revokeObjectURL, () => {});
    this.#urls.clear();
  }
}

// Shows a picture once it has been fetched; one that is missing stays an empty frame.
export function show(image, files, path) {
  image.classList.add("loading");
  files
    .url(path)
    .then(
      (url) => (image.src = url),
      () => image.classList.add("missing"),
    )
    .finally(() => image.classList.remove("loading"));
  return image;
}

// Sends a form. Not by fetch, which cannot say how much of it has gone.
export async function submit(form, { onProgress, idempotencyKey, signal }) {
  const key = apiKey();
  const answer = await post(form, withKey({ "Idempotency-Key": idempotencyKey }, key), onProgress, signal);
  if (answer.status < 400) return answer.told;
  const error = new ApiError(answer.status, answer.told, answer.retryAfter);
  if (error.code === "api_key_required" && (await newKey(key))) {
    return submit(form, { onProgress, idempotencyKey, signal });
  }
  throw error;
}

function post(form, headers, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", "/image_to_3d");
    for (const [name, value] of Object.entries(headers)) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    call.onload = () => {
      noteReached(true);
      resolve({
        status: call.status,
        told: parsed(call.responseText),
        retryAfter: retryAfter(call.getResponseHeader("Retry-After")),
      });
    };
    call.onerror = () => {
      noteReached(false);
      reject(new Unreachable());
    };
    call.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

// 128 random bits. crypto.randomUUID would want https, and a service in the house often has none.
export const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
