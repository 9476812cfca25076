// The page on which a job is put together and sent.

import { ApiError, Unreachable, getJson, pause, randomKey, request, submit } from "./api.js";
import { $, h } from "./dom.js";
import { Pictures } from "./pictures.js";
import { Settings } from "./settings.js";

export class Compose {
  // onSent(answer, files) is called with what the service answered.
  constructor(onSent) {
    this.onSent = onSent;
    this.pictures = new Pictures();
    this.settings = new Settings($("settings"));
    this.pictures.addEventListener("change", (event) => this.#say(event.detail));
    $("compose").addEventListener("submit", (event) => (event.preventDefault(), this.#send()));
    for (const button of document.querySelectorAll("[data-sample]")) {
      button.addEventListener("click", () => this.#takeSample(button.dataset.sample));
    }
    this.#hearPastes();
    this.#hearDrops();
  }

  // Also called when the service has come back: what could not be asked then is asked now.
  async start() {
    if (this.settings.built) return;
    const offered = await getJson("/workers").then(
      ({ workers }) => workers.flatMap((worker) => worker.pipelines),
      () => [],
    );
    await this.settings.build(offered);
  }

  // Puts a job's pictures and settings back into the form; whether that went well.
  async refill(job) {
    try {
      const files = await Promise.all(job.urls.inputs.map((url, at) => fetchFile(url, job, at)));
      const { views, ...params } = job.params;
      this.pictures.replace(files, views ?? []);
      this.settings.fill({ ...params, pipeline: job.pipeline });
      this.#say("");
      $("submit").focus();
      return true;
    } catch (error) {
      this.#say(error.message);
      return false;
    }
  }

  #say(problem, ...more) {
    $("compose-problem").hidden = !problem;
    $("compose-problem").replaceChildren(problem, ...more);
  }

  async #takeSample(name) {
    try {
      const picture = await (await request(`/static/examples/${name}`)).blob();
      this.pictures.replace([new File([picture], name, { type: picture.type })]);
      $("submit").focus();
    } catch (error) {
      this.#say(error.message);
    }
  }

  #hearPastes() {
    document.addEventListener("paste", (event) => {
      const files = event.clipboardData?.files ?? [];
      if (!files.length) return;
      event.preventDefault();
      this.#takeIn(files);
    });
  }

  // The whole window takes drops: whoever drags a picture should not have to aim.
  #hearDrops() {
    let depth = 0; // dragenter and dragleave come for every element passed over
    const veil = (delta) => {
      depth = delta ? Math.max(depth + delta, 0) : 0;
      $("veil").hidden = depth === 0;
    };
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragenter", (event) => carriesFiles(event) && veil(1));
    addEventListener("dragleave", (event) => carriesFiles(event) && veil(-1));
    addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      veil(0);
      if (!carriesFiles(event)) return;
      event.preventDefault();
      this.#takeIn(event.dataTransfer.files);
    });
  }

  #takeIn(files) {
    if (!["", "#new"].includes(location.hash)) {
      location.hash = "#new";
      this.pictures.clear();
    }
    this.pictures.add(files);
  }

  #form() {
    const form = new FormData();
    for (const file of this.pictures.files) form.append("image", file, file.name);
    if (this.pictures.files.length > 1 || this.pictures.sides[0] !== "front")
      form.append("views", this.pictures.sides.join(","));
    for (const [name, value] of Object.entries(this.settings.values())) form.append(name, value);
    return form;
  }

  async #send() {
    const problem = this.pictures.problem;
    if (problem) return this.#say(problem);
    this.#say("");
    this.settings.point("");
    const files = this.pictures.files;
    const answer = await this.#sending(this.#form());
    if (!answer) return;
    this.pictures.clear();
    this.onSent(answer, files);
  }

  // What the service answered; nothing when it refused or the sender gave up.
  async #sending(form) {
    const control = new AbortController();
    const idempotencyKey = randomKey(); // a repetition after a lost answer is the same job
    this.#busy(true);
    try {
      for (;;) {
        try {
          return await submit(form, { idempotencyKey, signal: control.signal, onProgress: showUpload });
        } catch (error) {
          if (!(await this.#worthAnotherTry(error, control))) return null;
        }
      }
    } finally {
      this.#busy(false);
    }
  }

  #busy(busy) {
    $("submit").disabled = busy;
    $("submit").textContent = busy ? "Sending…" : "Make the model";
    $("upload").hidden = !busy;
    showUpload(0);
  }

  // A service that names a time is asked again at that time, unless the sender stops it.
  async #worthAnotherTry(error, control) {
    $("upload").hidden = true;
    if (error.name === "AbortError") return false;
    const wait = error instanceof ApiError ? error.retryAfter : 0;
    if (!wait) {
      this.#say(error.message);
      if (!(error instanceof Unreachable)) this.settings.point(error.message);
      return false;
    }
    return this.#countDown(error.message, wait, control);
  }

  async #countDown(message, wait, control) {
    const turn = new AbortController();
    const left = h("b", { role: "timer" });
    const now = h("button.quiet", { type: "button", onclick: () => turn.abort() }, "Try now");
    const stop = h("button.quiet", { type: "button", onclick: () => (control.abort(), turn.abort()) }, "Stop");
    $("submit").textContent = "Waiting…";
    this.#say(message, h("span.countdown", {}, "Trying again in ", left, now, stop));
    for (let at = wait; at > 0 && !turn.signal.aborted; at -= 1) {
      left.textContent = `${Math.ceil(at)} s`;
      await pause(1000, turn.signal);
    }
    this.#say("");
    this.#busy(true);
    return !control.signal.aborted;
  }
}

async function fetchFile(url, job, at) {
  const picture = await (await request(url)).blob();
  const name = at === 0 && job.image_name ? job.image_name : `picture ${at + 1}`;
  return new File([picture], name, { type: picture.type });
}

function showUpload(share) {
  $("upload-bar").value = share;
}
