// Follows one job to its end: by its event stream, or by asking again and again where streams do not get through.

import { ApiError, getJson, pause, request } from "./api.js";

const FINAL = ["complete", "error", "cancelled"];
const SILENCE_MS = 40_000; // the service says at least a comment every 15 s
const TRIES = 3;
const POLLED = 3; // asked this often before the stream is tried again

export const ended = (job) => FINAL.includes(job.status);

// What an event changes of the job as GET /jobs/<id> tells it.
const PATCHES = {
  status: (told) => told,
  progress: (told) => ({ status: "processing", position: 0, ...told }),
  preview: (told) => ({ preview: told.url }),
  done: (told) => told,
  error: (told) => told,
};

// Calls update(patch) for everything that changes, until the job has ended or the signal says stop.
// Raises what the service says when the job is not there or not ours.
export async function follow(jobId, update, signal) {
  const stream = { last: "", wait: 2000, over: false };
  let failed = 0;
  while (!signal.aborted && !stream.over) {
    try {
      await read(jobId, stream, update, signal);
      failed = 0;
    } catch (error) {
      if (signal.aborted) return;
      failed += error instanceof ApiError ? TRIES : 1; // a refused stream is not worth insisting
      if (failed >= TRIES) stream.over = await poll(jobId, update, signal);
    }
    if (!stream.over) await pause(stream.wait, signal);
  }
}

async function read(jobId, stream, update, signal) {
  const watch = watchdog(signal);
  const headers = { Accept: "text/event-stream", ...(stream.last && { "Last-Event-ID": stream.last }) };
  try {
    const response = await request(`/jobs/${jobId}/events`, { headers, signal: watch.signal, cache: "no-store" });
    if (response.status === 204) return void (stream.over = true); // nothing is left to tell
    for await (const event of events(response.body, watch)) {
      if (event.retry) stream.wait = event.retry;
      if (event.id) stream.last = event.id;
      if (!event.data || !PATCHES[event.type]) continue;
      update(PATCHES[event.type](JSON.parse(event.data)));
      if (event.type === "done" || event.type === "error") return void (stream.over = true);
    }
  } finally {
    watch.stop();
  }
}

// Aborts a stream that says nothing at all for too long: a dead line or a proxy that holds answers back.
function watchdog(outer) {
  const control = new AbortController();
  const stopped = () => control.abort();
  let timer;
  const feed = () => {
    clearTimeout(timer);
    timer = setTimeout(stopped, SILENCE_MS);
  };
  outer.addEventListener("abort", stopped);
  feed();
  const stop = () => (clearTimeout(timer), outer.removeEventListener("abort", stopped));
  return { signal: control.signal, feed, stop };
}

// Server-sent events out of a stream of bytes.
async function* events(body, watch) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    watch.feed();
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) yield parsed(block);
  }
}

function parsed(block) {
  const event = { type: "message", data: "" };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "event") event.type = value;
    else if (name === "data") event.data += (event.data && "\n") + value;
    else if (name === "id") event.id = value;
    else if (name === "retry") event.retry = Number(value);
  }
  return event;
}

// Whether the job has ended by now.
async function poll(jobId, update, signal) {
  for (let turn = 0; turn < POLLED && !signal.aborted; turn += 1) {
    const asked = Date.now();
    const job = await getJson(`/jobs/${jobId}?wait=2`, { signal }).catch(passing);
    if (job) update(job);
    if (job && ended(job)) return true;
    await pause(Math.max(500 - (Date.now() - asked), 0) + (job ? 0 : 2000), signal);
  }
  return signal.aborted;
}

// A service that is away comes back; one that says the job is not there means it.
function passing(error) {
  if (error instanceof ApiError && [401, 403, 404].includes(error.status)) throw error;
  return null;
}
