// How far a job is: where it waits or what it does, a bar, and what is left.

import { h, seconds, words } from "./dom.js";

export class ProgressCard {
  constructor() {
    this.line = h("p.line");
    this.bar = h("progress", { max: 1, "aria-label": "Progress" });
    this.left = h("p.left");
    this.card = h("section.card.progress", {}, this.line, this.bar, this.left);
  }

  draw(job) {
    if (job.status === "queued") this.bar.removeAttribute("value");
    else this.bar.value = job.progress ?? 0;
    this.line.replaceChildren(...progressLine(job));
    this.left.textContent = remaining(job);
  }
}

function progressLine(job) {
  if (job.cancelling) return ["Cancelling…"];
  if (job.status === "queued") return [h("b", {}, "In the queue"), job.position ? ` · number ${job.position}` : ""];
  if (!job.stage) return [h("b", {}, "Starting")];
  return [h("b", {}, words(job.stage)), job.of > 1 ? ` · step ${job.step} of ${job.of}` : ""];
}

// The estimate, counted down between two of the service's.
function remaining(job) {
  if (job.eta_s === null || job.eta_s === undefined) return "";
  const left = job.eta_s - (Date.now() - (job.told ?? Date.now())) / 1000;
  return left > 1 ? `about ${seconds(Math.round(left))} to go` : "any moment now";
}
