// The frame around the model: the canvas, what stands there before there is one, and the buttons below it.

import { request } from "./api.js";
import { h, icon, iconButton, reducedMotion, words } from "./dom.js";

const LOOKS = { textured: "Textured", clay: "Clay", normals: "Normals", wireframe: "Wireframe" };
const HELP = "3D model. Arrow keys turn it, plus and minus zoom, 0 resets, space stops or starts the turning.";

export class Stage {
  #viewer = null;
  #turn = 0; // counts models asked for: a slow one must not replace a later one
  #model = null; // bytes to go back to from splats
  #wantsTurning = !reducedMotion();

  constructor(place) {
    this.place = place;
    this.waiting = h("div.waiting");
    this.badge = h("span.badge", { hidden: true }, "Preview");
    this.note = h("p.note", { role: "status", hidden: true });
    this.sheet = h("div.sheet", { hidden: true });
    this.still = h("div.still", { hidden: true });
    this.tools = h("div.tools", { hidden: true });
    this.#freshCanvas();
    place.append(this.frame, this.tools);
    this.#drawTools();
  }

  #freshCanvas() {
    this.canvas = h("canvas", { tabIndex: 0, role: "img", "aria-label": HELP, hidden: true });
    this.frame = h("div.frame", {}, this.waiting, this.canvas, this.sheet, this.still, this.badge, this.note);
  }

  // An empty stage for another job; with the picture that was sent, until there is something to turn.
  clear() {
    this.#turn += 1;
    this.#model = this.splatsPath = null;
    this.#viewer?.clear();
    this.#viewer?.forgetCamera();
    this.waiting.replaceChildren();
    for (const part of [this.canvas, this.sheet, this.still, this.badge, this.note, this.tools]) part.hidden = true;
    this.place.dataset.state = "empty";
    this.#setLooks([]);
  }

  // Shows the picture that was sent, with a line below it.
  picture(image) {
    this.waiting.replaceChildren(image);
  }

  // Whether nothing more is to come.
  rest(ended) {
    this.place.toggleAttribute("data-ended", ended);
  }

  // Loads a GLB and shows it. `fallback` is an animated picture for browsers without WebGL.
  async model(path, { preview = false, fallback = "", splats = "" } = {}) {
    const turn = (this.#turn += 1);
    try {
      const viewer = await this.#ready(fallback, turn);
      if (!viewer) return;
      const bytes = await (await request(path)).arrayBuffer();
      if (turn !== this.#turn) return;
      await viewer.showGlb(bytes, { keepCamera: true });
      this.#model = bytes;
      this.splatsPath = splats;
      this.#shown(preview);
      this.#setLooks([
        ...Object.keys(LOOKS),
        ...(viewer.facts.textured ? ["texture"] : []),
        ...(splats ? ["splats"] : []),
      ]);
    } catch (error) {
      if (turn === this.#turn) this.say(`The model cannot be shown: ${error.message}`);
    }
  }

  // Shows a file of Gaussians when that is all there is.
  async splats(path) {
    const viewer = await this.#ready("", this.#turn);
    if (!viewer) return;
    this.splatsPath = path;
    await this.#showSplats();
    this.#setLooks(["splats"]);
  }

  async #showSplats() {
    const turn = (this.#turn += 1);
    try {
      const bytes = await (await request(this.splatsPath)).arrayBuffer();
      if (turn !== this.#turn) return;
      await this.#viewer.showSplats(new Uint8Array(bytes));
      this.#shown(false);
    } catch (error) {
      this.say(`The splats cannot be shown: ${error.message}`);
    }
  }

  get facts() {
    return this.#viewer?.facts;
  }

  say(text) {
    this.note.hidden = !text;
    this.note.textContent = text;
  }

  #shown(preview) {
    this.waiting.replaceChildren();
    this.canvas.hidden = this.tools.hidden = false;
    this.badge.hidden = !preview;
    this.place.dataset.state = preview ? "preview" : "shown";
    this.#viewer.turning = this.#wantsTurning;
    this.say("");
  }

  // The viewer, made when it is first needed; nothing where the browser has no WebGL, and then a picture turns instead.
  async #ready(fallback, turn) {
    if (this.#viewer) return this.#viewer;
    if (!hasWebGl()) {
      await this.#turntable(fallback, turn);
      return null;
    }
    const { Viewer } = await import("./viewer.js");
    if (this.#viewer) return this.#viewer; // made by another while this one loaded
    this.canvas.hidden = false; // a hidden canvas has no size
    this.#viewer = new Viewer(this.canvas);
    this.#listen();
    return this.#viewer;
  }

  #listen() {
    this.#viewer.addEventListener("turning", () => this.turnButton.setAttribute("aria-pressed", this.#viewer.turning));
    this.#viewer.addEventListener("touched", () => (this.#viewer.turning = false));
    this.#viewer.addEventListener("lost", () =>
      this.say("The graphics card was taken away. Waiting for it to come back…"),
    );
    this.#viewer.addEventListener("restored", () => this.say(""));
  }

  async #turntable(path, turn) {
    if (!path) return this.say("This browser has no WebGL: there is something to see when the model is finished.");
    const file = await (await request(path)).blob();
    if (turn !== this.#turn) return;
    this.say("This browser has no WebGL, so the model is shown as a picture.");
    this.waiting.replaceChildren();
    this.still.replaceChildren(h("img", { src: URL.createObjectURL(file), alt: "The model, turning" }));
    this.still.hidden = false;
    this.place.dataset.state = "still";
  }

  #drawTools() {
    this.looks = h("div.segments.looks", { role: "radiogroup", "aria-label": "How the model is shown" });
    this.turnButton = iconButton("turn", "Turn by itself", () => {
      this.#wantsTurning = !this.#viewer.turning;
      this.#viewer.turning = this.#wantsTurning;
    });
    this.turnButton.setAttribute("aria-pressed", "false");
    const reset = iconButton("reset", "View from the front", () => this.#viewer.reset());
    const full = iconButton("full", "Full screen", () => this.#fullScreen());
    full.hidden = !document.fullscreenEnabled;
    this.tools.append(this.looks, h("div.buttons", {}, this.turnButton, reset, full));
  }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.place.requestFullscreen();
  }

  #setLooks(names) {
    const kept = names.includes(this.look) ? this.look : names[0];
    const radio = (name) =>
      h(
        "label.segment",
        {},
        h("input", {
          type: "radio",
          name: "look",
          value: name,
          checked: name === kept,
          onchange: () => this.#use(name),
        }),
        h("span", {}, LOOKS[name] ?? words(name)),
      );
    this.looks.replaceChildren(...names.map(radio));
    if (kept) this.#use(kept);
  }

  async #use(look) {
    const before = this.look;
    this.look = look;
    this.place.dataset.look = look;
    const sheet = look === "texture" ? this.#viewer.textureSheet() : null;
    this.sheet.hidden = !sheet;
    this.sheet.replaceChildren(...(sheet ? [sheet] : []));
    if (look === "splats" && this.#model) return this.#showSplats();
    if (before === "splats" && look !== "splats" && this.#model) await this.#viewer.showGlb(this.#model);
    if (LOOKS[look]) this.#viewer.look(look);
  }
}

// Asked of a canvas of its own: a canvas that was refused once gives nothing else either.
function hasWebGl() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext(); // browsers allow only so many
  return Boolean(context);
}
