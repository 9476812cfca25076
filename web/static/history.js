// One's recent requests.

import { Files, cancel, connection, getJson, show } from "./api.js";
import { $, ago, h, icon } from "./dom.js";
import { ended } from "./events.js";
import { STATUS_WORDS, deleteAsked } from "./job.js";

const LIVELY_MS = 3000; // while something waits or runs
const CALM_MS = 30_000;

export class History {
  #files = new Files();
  #timer = 0;
  #drawn = "";

  constructor(deeds) {
    this.deeds = deeds;
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
    for (const news of ["found", "key"]) connection.addEventListener(news, () => this.refresh());
  }

  async refresh() {
    clearTimeout(this.#timer);
    const jobs = await getJson("/jobs", { quiet: true }).then(
      (told) => told.jobs,
      () => null,
    );
    if (jobs) this.#draw(jobs);
    const active = jobs?.some((job) => !ended(job));
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.refresh(), active ? LIVELY_MS : CALM_MS);
  }

  // Marks the job whose page is open.
  mark(id) {
    this.open = id;
    for (const card of $("history").children) card.toggleAttribute("data-open", card.dataset.job === id);
  }

  #draw(jobs) {
    $("recent").hidden = !jobs.length;
    const seen = JSON.stringify(
      jobs.map((job) => [job.job_id, job.status, job.cancelling, Math.round(job.progress * 20), ago(job.created_at)]),
    );
    if (seen === this.#drawn) return; // focus and pictures stay where they are
    this.#drawn = seen;
    const focused = document.activeElement?.closest?.("#history li")?.dataset.job;
    $("history").replaceChildren(...jobs.map((job) => this.#card(job)));
    this.mark(this.open);
    if (focused) $("history").querySelector(`[data-job="${focused}"] a`)?.focus();
  }

  #card(job) {
    const picture = job.urls.files?.["thumbnail.png"] ?? job.urls.inputs?.[0];
    const name = job.image_name || "Untitled";
    const image = picture
      ? show(h("img", { alt: "", loading: "lazy" }), this.#files, picture)
      : h("span.no-picture", {}, icon("picture"));
    const state = job.status === "complete" ? ago(job.created_at) : STATUS_WORDS[job.status];
    const bar =
      job.status === "processing" ? h("progress", { max: 1, value: job.progress, "aria-label": "Progress" }) : null;
    return h(
      "li",
      { data: { job: job.job_id, status: job.status } },
      h("a", { href: `#job=${job.job_id}` }, h("span.frame", {}, image, bar), h("b", {}, name), h("small", {}, state)),
      h("span.deeds", {}, this.#deeds(job, name)),
    );
  }

  #deeds(job, name) {
    const deed = (symbol, label, onclick) =>
      h(
        "button.icon.quiet",
        { type: "button", title: label, "aria-label": `${label}: ${name}`, onclick },
        icon(symbol),
      );
    if (!ended(job)) return [deed("cross", "Cancel", () => this.#after(cancel(job.job_id)))];
    return [
      job.urls.inputs?.length ? deed("again", "Make again", () => this.deeds.refill(job)) : null,
      deed("bin", "Delete", () => this.#after(deleteAsked(job).then((gone) => gone && this.deeds.deleted(job)))),
    ];
  }

  async #after(deed) {
    await deed.catch(() => {}); // gone already, or the service is away, which the page says elsewhere
    this.refresh();
  }
}
