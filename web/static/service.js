// The queue and the devices that work it off.

import { getJson } from "./api.js";
import { bars, line } from "./charts.js";
import { $, gigabytes, h, seconds, words } from "./dom.js";

const EVERY_MS = 2500;
const STATE_WORDS = { starting: "Starting", ready: "Ready", busy: "Working", stopping: "Stopping" };

export class ServicePage {
  #timer = 0;
  #open = false;

  open() {
    this.#open = true;
    this.#refresh();
  }

  close() {
    this.#open = false;
    clearTimeout(this.#timer);
  }

  async #refresh() {
    clearTimeout(this.#timer);
    try {
      const [{ workers }, stats] = await Promise.all([getJson("/workers"), getJson("/stats")]);
      if (this.#open) $("service").replaceChildren(numbers(stats), charts(stats), devices(workers));
    } catch (error) {
      if (this.#open) $("service").replaceChildren(h("p.problem", { role: "alert" }, error.message));
    }
    if (this.#open) this.#timer = setTimeout(() => this.#refresh(), EVERY_MS);
  }
}

function numbers(stats) {
  const waiting = Object.values(stats.waiting).reduce((sum, count) => sum + count, 0);
  const queues = Object.entries(stats.waiting)
    .filter(([, count]) => count)
    .map(([queue, count]) => `${count} for ${queue}`);
  const hour = (name) => stats.minutes.reduce((sum, minute) => sum + minute[name], 0);
  return h(
    "dl.numbers",
    {},
    number("Waiting", waiting, queues.join(", ") || "nobody has to wait"),
    number("Working", stats.processing, stats.processing ? "right now" : "all is quiet"),
    number("Finished", hour("complete"), "in the last hour"),
    number("Failed", hour("error"), "in the last hour"),
  );
}

const number = (name, value, hint) =>
  h("div.card", {}, h("dt", {}, name), h("dd", {}, String(value), h("small", {}, hint)));

function charts({ minutes, usual_s: usual = {} }) {
  const column = (name) => minutes.map((minute) => minute[name]);
  const usually = Object.entries(usual)
    .map(([name, value]) => `${name} ${seconds(value)}`)
    .join(", ");
  const finished = [
    { name: "finished", className: "good", values: column("complete") },
    { name: "failed", className: "bad", values: column("error") },
    { name: "cancelled", className: "dull", values: column("cancelled") },
  ];
  return h(
    "div.charts",
    {},
    h("div.card", {}, bars("Jobs a minute", `${minutes.at(-1)?.complete ?? 0} this minute`, finished)),
    h("div.card", {}, line("Wait before the start", latest(column("wait_s")), column("wait_s"), seconds)),
    h(
      "div.card",
      {},
      line("Time to make one", usually ? `usually ${usually}` : latest(column("run_s")), column("run_s"), seconds),
    ),
  );
}

function latest(values) {
  const value = values.findLast((one) => one !== null && one !== undefined);
  return value === undefined ? "nothing yet" : seconds(value);
}

function devices(workers) {
  if (!workers.length)
    return h("p.problem", { role: "alert" }, "No worker is running: what is sent will be refused until one is.");
  return h("ul.devices", { "aria-label": "Devices" }, workers.map(device));
}

function device(worker) {
  const used = worker.memory_total_mb - worker.memory_free_mb;
  return h(
    "li.card",
    {},
    h(
      "div.device-head",
      {},
      h("h2", {}, worker.device),
      h("span.chip", { data: { status: worker.state } }, STATE_WORDS[worker.state] ?? worker.state),
    ),
    h(
      "p.hint",
      {},
      `${worker.host} · ${worker.jobs_done} jobs done`,
      worker.device_restarts ? ` · ${worker.device_restarts} restarts` : "",
    ),
    meter("Memory", used, worker.memory_total_mb, `${gigabytes(used)} of ${gigabytes(worker.memory_total_mb)}`),
    worker.utilization === undefined
      ? null
      : meter("Busy", worker.utilization, 1, `${Math.round(worker.utilization * 100)} %`),
    h(
      "p.pipelines",
      {},
      worker.pipelines.map((name) => pipeline(name, worker.loaded.includes(name))),
    ),
    currentJob(worker.current_job),
  );
}

const pipeline = (name, loaded) =>
  h(
    "span.tag",
    { data: loaded ? { loaded: "" } : {}, title: loaded ? "Loaded and warm" : "Loaded when it is asked for" },
    name,
    loaded ? h("span.unseen", {}, " (loaded)") : null,
  );

function meter(name, value, max, text) {
  const share = Math.min(value / (max || 1), 1);
  const track = h(
    "span.track",
    { role: "meter", "aria-label": name, "aria-valuenow": Math.round(share * 100), "aria-valuetext": text },
    h("i", { style: { width: `${share * 100}%` } }),
  );
  return h("div.meter", {}, h("span", {}, name), track, h("span", {}, text));
}

function currentJob(job) {
  if (!job) return h("p.current.idle", {}, "Waiting for work");
  const text = `${job.pipeline} · ${job.stage ? words(job.stage) : "starting"}`;
  const name = job.request_id ? h("a", { href: `#job=${job.request_id}` }, text) : text;
  return h(
    "div.current",
    {},
    h("span", {}, name),
    h("progress", { max: 1, value: job.progress, "aria-label": "Progress" }),
  );
}
