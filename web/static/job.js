// The page of one job: what was sent, how far it is, what came of it.

import { again } from "./again.js";
import { ApiError, Files, cancel, getJson, remove, request, show } from "./api.js";
import { confirm } from "./dialogs.js";
import { $, capital, h, seconds, words } from "./dom.js";
import { downloads } from "./downloads.js";
import { ended, follow } from "./events.js";
import { findSplats } from "./ply.js";
import { ProgressCard } from "./progress.js";
import { Stage } from "./stage.js";
import { drawViews } from "./views.js";

export const STATUS_WORDS = {
  queued: "Waiting",
  processing: "Working",
  complete: "Finished",
  error: "Failed",
  cancelled: "Cancelled",
};

const STAGE_WORDS = { stage1: "the first alone", stage2: "the second alone" };

export class JobPage {
  #control = null;
  #files = new Files();
  #ticker = 0;

  // `deeds`: refill(job), retry(job), sent(answer), changed().
  constructor(deeds) {
    this.deeds = deeds;
    this.stage = new Stage($("stage"));
    this.progress = new ProgressCard();
  }

  async open(id) {
    this.close();
    const { signal } = (this.#control = new AbortController());
    this.#blank();
    try {
      this.job = await getJson(`/jobs/${encodeURIComponent(id)}`, { signal });
      this.#draw();
      if (!ended(this.job)) await follow(id, (patch) => this.#update(patch), signal);
    } catch (error) {
      if (!signal.aborted) this.#missing(error);
    }
  }

  close() {
    this.#control?.abort();
    clearInterval(this.#ticker);
    this.#files.clear();
    this.job = null;
    document.title = "Maquette";
  }

  #blank() {
    this.stage.clear();
    $("job-title").textContent = "…";
    $("job-status").textContent = "";
    delete $("job-status").dataset.status;
    $("job-actions").replaceChildren();
    $("side").replaceChildren();
    $("views").hidden = true;
    this.shownModel = "";
  }

  #missing(error) {
    const gone = error instanceof ApiError && error.status === 404;
    $("job-title").textContent = gone ? "This model is not here" : "This cannot be shown";
    const back = h("a.button", { href: "#new" }, "Make a new one");
    $("side").replaceChildren(h("section.card", {}, h("p.problem", { role: "alert" }, error.message), back));
  }

  #update(patch) {
    const before = this.job;
    this.job = { ...before, ...patch, told: Date.now() };
    if (this.job.status !== before.status) {
      this.#announce();
      this.deeds.changed();
      this.#draw();
    } else {
      if (patch.stage && patch.stage !== before.stage) this.#announce();
      this.#drawProgress();
      this.#drawModel();
    }
  }

  // Says what a person who does not see the page wants to know: new states and stages, not every step.
  #announce() {
    const { status, stage, error } = this.job;
    const detail = status === "processing" && stage ? `: ${words(stage)}` : error ? `: ${error}` : "";
    $("announce").textContent = `${STATUS_WORDS[status]}${detail}`;
  }

  #draw() {
    const { job } = this;
    $("job-title").textContent = job.image_name || "Untitled";
    $("job-status").textContent = STATUS_WORDS[job.status];
    $("job-status").dataset.status = job.status;
    $("job-actions").replaceChildren(...this.#actions());
    $("side").replaceChildren(...this.#side().filter(Boolean));
    this.#drawProgress();
    this.stage.rest(ended(job));
    this.#drawModel();
    drawViews($("views"), job.urls.files ?? {}, this.#files);
    clearInterval(this.#ticker);
    if (!ended(job)) this.#ticker = setInterval(() => this.#drawProgress(), 1000);
  }

  #actions() {
    const { job, deeds } = this;
    const button = (label, onclick, kind = "button") => h(kind, { type: "button", onclick }, label);
    if (!ended(job)) return [button("Cancel", (event) => this.#cancel(event.target))];
    const pictures = job.urls.inputs?.length; // none when it was made from another job
    return [
      pictures && button(job.status === "complete" ? "Make again" : "Change and send", () => deeds.refill(job)),
      pictures && job.status !== "complete" && button("Try again", () => deeds.retry(job), "button.primary"),
      button("Delete", () => this.#delete(), "button.quiet"),
    ].filter(Boolean);
  }

  async #cancel(button) {
    button.disabled = true;
    button.textContent = "Cancelling…";
    await cancel(this.job.job_id).catch((error) => this.stage.say(error.message));
    this.deeds.changed();
  }

  async #delete() {
    try {
      if (await deleteAsked(this.job)) location.hash = "#new";
    } catch (error) {
      this.stage.say(error.message);
    }
    this.deeds.changed();
  }

  #side() {
    const { job } = this;
    const complete = job.status === "complete";
    return [
      this.#inputs(),
      ended(job) ? null : this.progress.card,
      job.error
        ? h("section.card.failed", { role: "alert" }, h("h2", {}, "It did not work"), h("p", {}, job.error))
        : null,
      complete && job.urls.files ? downloads(job, (text) => this.stage.say(text)) : null,
      ended(job) ? again(job, this.deeds.sent) : null,
      job.warnings?.length
        ? h(
            "section.card.warned",
            {},
            job.warnings.map((text) => h("p", {}, capital(text))),
          )
        : null,
      this.#facts(),
    ];
  }

  #inputs() {
    const { files, inputs: sent } = this.job.urls;
    const inputs = sent?.length ? sent : [files?.["stage1_output/input.png"]].filter(Boolean);
    const sides = this.job.params.views ?? [];
    const picture = (path, at) => {
      const side = sides[at] || (at === 0 ? "Your picture" : `Picture ${at + 1}`);
      const image = show(h("img", { alt: capital(side) }), this.#files, path);
      return h("figure", {}, image, inputs.length > 1 ? h("figcaption", {}, capital(side)) : null);
    };
    return inputs.length
      ? h("section.card.inputs", { "aria-label": "What was sent", data: { count: inputs.length } }, inputs.map(picture))
      : null;
  }

  #drawProgress() {
    const { job } = this;
    this.progress.draw(job);
    const share = job.status === "queued" ? "Waiting" : `${Math.round((job.progress ?? 0) * 100)} %`;
    document.title = `${ended(job) ? STATUS_WORDS[job.status] : share} · ${job.image_name || "model"} – Maquette`;
  }

  #facts() {
    const { job } = this;
    const list = h("dl.facts");
    const add = (name, value) => value && list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
    add("Pipeline", job.pipeline);
    add("Stage", STAGE_WORDS[job.params.stage]);
    if (job.made_from) add("Structure of", h("a", { href: `#job=${job.made_from}` }, "an earlier model"));
    if (job.status === "complete") add("Made in", seconds(job.ended_at - job.started_at));
    if (job.params.quality) add("Quality", job.params.quality);
    if (job.params.texture_size) add("Texture", `${job.params.texture_size} px`);
    if (job.params.seed !== undefined) add("Seed", String(job.params.seed));
    const manifest = job.urls.files?.["manifest.json"];
    if (manifest) this.#addMeasured(manifest, add);
    return h("section.card", { "aria-label": "About this model" }, list);
  }

  async #addMeasured(path, add) {
    const facts = await request(path).then(
      (answer) => answer.json(),
      () => ({}),
    );
    add("Triangles", facts.triangles?.toLocaleString());
    if ("watertight" in facts) add("Watertight", facts.watertight ? "yes" : "no");
    if ("learned" in facts) add("Learned model", facts.learned ? "yes" : "no");
  }

  // The best there is to see by now.
  #drawModel() {
    const { job } = this;
    const files = job.urls.files ?? {};
    const preview = job.preview || job.urls.preview;
    if (job.status === "complete") this.#showResult(files);
    else if (preview && job.status !== "error")
      this.#showOnce(preview, () => this.stage.model(preview, { preview: true }));
    else if (!this.shownModel) this.#showPicture();
  }

  #showOnce(path, deed) {
    if (this.shownModel === path) return;
    this.shownModel = path;
    deed();
  }

  async #showResult(files) {
    const { job } = this;
    const model = files["output.glb"] ?? Object.values(files).find((path) => path.endsWith(".glb"));
    const splats = await findSplats(files);
    if (this.job !== job) return; // another was opened meanwhile
    if (!model && !splats) return this.stage.say("This pipeline made files, but none that can be turned here.");
    this.#showOnce(model ?? splats, () =>
      model ? this.stage.model(model, { splats, fallback: files["turntable.webp"] }) : this.stage.splats(splats),
    );
  }

  #showPicture() {
    const path = this.job.urls.inputs?.[0];
    if (path) this.#showOnce(path, () => this.stage.picture(show(h("img", { alt: "" }), this.#files, path)));
  }
}

// Whether it was deleted: asks first, and says what the service says.
export async function deleteAsked(job) {
  const name = job.image_name || "this model";
  if (!(await confirm(`Delete ${name}?`, "Its files are removed from the service. This cannot be undone.", "Delete")))
    return false;
  await remove(job.job_id);
  return true;
}
