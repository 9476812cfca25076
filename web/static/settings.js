// The form of settings, made from what /openapi.json says POST /image_to_3d takes.

import { controlOf, select } from "./controls.js";
import { h, words } from "./dom.js";
import { fits, readFields, without } from "./schema.js";

// Field values by name; a preset is these over the defaults, as far as the service knows the fields.
const PRESETS = {
  draft: { texture_size: 512, texture_bake_mode: "fast", simplify_ratio: 0.3 },
  standard: {},
  high: { quality: "high", texture_size: 2048 },
};
const PRESET_WORDS = {
  draft: "Light and quick",
  standard: "Good for most pictures",
  high: "Finest surface, larger files",
};
// The page has its own way to ask for these.
const ELSEWHERE = ["image", "image_data", "image_url", "webhook_url", "views", "pipeline", "stage", "job_id"];
const OWN = "trellis";
const FALLBACK = "relief";

export class Settings {
  built = false;
  #fields = {};
  #controls = {}; // name → {read, write, element}

  constructor(place) {
    this.place = place;
  }

  // Builds the form. `offered` are the pipelines that workers have.
  async build(offered) {
    this.offered = offered;
    try {
      this.#fields = await readFields();
    } catch (error) {
      this.place.replaceChildren(
        h(
          "p.hint",
          {},
          `The settings cannot be shown (${error.message}). Pictures are made with the service's defaults.`,
        ),
      );
      return;
    }
    this.#draw();
    this.built = true;
  }

  // The values that differ from the defaults, of the fields that the chosen pipeline heeds.
  values() {
    const changed = Object.entries(this.#controls).filter(
      ([name, { read }]) => this.#heeded(name) && read() !== this.#default(name),
    );
    return Object.fromEntries(changed.map(([name, { read }]) => [name, read()]));
  }

  // Takes a job's own settings over; what it does not name goes back to its default.
  fill(values) {
    for (const [name, { write }] of Object.entries(this.#controls)) write(values[name] ?? this.#default(name));
    this.#changed();
  }

  // Puts the finger on the field that a refusal begins with.
  point(message) {
    const name = Object.keys(this.#controls).find((field) => message.startsWith(`${field} is `));
    for (const [field, { element }] of Object.entries(this.#controls))
      element.ariaInvalid = field === name ? "true" : null;
    if (!name) return;
    this.#more.open = true;
    this.#controls[name].element.focus();
  }

  #default(name) {
    const value = this.#fields[name].default ?? "";
    return Array.isArray(value) ? value.join() : value; // as its control reads
  }

  #more;
  #presets;
  #rows = {};

  #draw() {
    const shown = Object.keys(this.#fields).filter((name) => !ELSEWHERE.includes(name));
    const pipeline = this.#fields.pipeline ? this.#pipeline() : null;
    for (const name of shown) this.#rows[name] = this.#row(name, this.#fields[name]);
    this.#more = h("details.more", {}, h("summary", {}, "All settings"), h("div.rows", {}, Object.values(this.#rows)));
    this.#presets = this.#presetChoice();
    this.place.replaceChildren(...[pipeline, this.#presets, this.#more].filter(Boolean));
    this.place.oninput = () => this.#changed();
    this.#changed();
  }

  #pipeline() {
    const field = this.#fields.pipeline;
    const names = field.enum ?? [...new Set([field.default ?? "auto", ...this.offered])];
    const control = select("pipeline", { ...field, enum: names });
    this.#controls.pipeline = control;
    this.pipelineHint = h("p.hint", { id: "hint-pipeline", "aria-live": "polite" });
    control.element.setAttribute("aria-describedby", "hint-pipeline");
    return h("div.field", {}, h("label", { for: "field-pipeline" }, "Pipeline"), control.element, this.pipelineHint);
  }

  #row(name, field) {
    const control = controlOf(name, field);
    this.#controls[name] = control;
    const label = h("label", { for: `field-${name}`, title: name }, field.title ?? words(name));
    const hint = field.description ? h("p.hint", { id: `hint-${name}` }, field.description) : null;
    if (hint) control.element.setAttribute("aria-describedby", hint.id);
    return h(`div.field${field.type === "boolean" ? ".check" : ""}`, {}, label, control.whole ?? control.element, hint);
  }

  // The pipeline that will answer: "auto" is the house's own model where a worker has it.
  get #answering() {
    const chosen = this.#controls.pipeline?.read() ?? "auto";
    if (chosen !== "auto") return chosen;
    return this.offered.includes(OWN) ? OWN : FALLBACK;
  }

  #heeded(name) {
    const pipelines = this.#fields[name]["x-pipelines"];
    return !pipelines || pipelines.includes(this.#answering);
  }

  #changed() {
    for (const [name, row] of Object.entries(this.#rows)) row.hidden = !this.#heeded(name);
    this.#presets.hidden = !Object.keys(this.#presetValues("high")).length;
    if (this.pipelineHint) {
      this.pipelineHint.textContent =
        this.#controls.pipeline.read() === "auto" ? `Here that is ${this.#answering}.` : "";
    }
    this.#markPreset();
  }

  #presetChoice() {
    const choices = Object.keys(PRESETS).map((name) =>
      h(
        "label.segment",
        {},
        h("input", { type: "radio", name: "preset", value: name, onchange: () => this.#usePreset(name) }),
        h("span", {}, words(name)),
      ),
    );
    this.presetHint = h("p.hint", { "aria-live": "polite" });
    return h("fieldset.field", {}, h("legend", {}, "Detail"), h("div.segments", {}, choices), this.presetHint);
  }

  #usePreset(preset) {
    const kept = { pipeline: this.#controls.pipeline?.read(), seed: this.#controls.seed?.read() };
    this.fill({
      ...this.#presetValues(preset),
      ...without(kept, ...Object.keys(kept).filter((name) => kept[name] === undefined)),
    });
  }

  #presetValues(preset) {
    return Object.fromEntries(
      Object.entries(PRESETS[preset]).filter(([name, value]) => fits(this.#fields[name], value) && this.#heeded(name)),
    );
  }

  // Which preset the values amount to: the radio says so, or none does.
  #markPreset() {
    const changed = without(this.values(), "pipeline", "seed");
    const same = (values) => {
      const names = Object.keys(values);
      return names.length === Object.keys(changed).length && names.every((name) => changed[name] === values[name]);
    };
    const found = Object.keys(PRESETS).find((preset) => same(this.#presetValues(preset)));
    for (const radio of this.#presets.querySelectorAll("input")) radio.checked = radio.value === found;
    this.presetHint.textContent = found ? PRESET_WORDS[found] : "Settings of your own";
  }
}
