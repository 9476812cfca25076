// The tray: the pictures about to be sent, each with the side it shows.

import { $, h, icon } from "./dom.js";

export const SIDES = ["front", "back", "left", "right"];
const TYPES = ["image/png", "image/jpeg", "image/webp"];

export class Pictures extends EventTarget {
  #shown = []; // {file, side, url, broken}

  constructor() {
    super();
    this.drop = $("drop");
    this.tray = $("tray");
    $("file").addEventListener("change", (event) => {
      this.add(event.target.files);
      event.target.value = ""; // the same file may be chosen again
    });
  }

  get files() {
    return this.#shown.map((picture) => picture.file);
  }

  get sides() {
    return this.#shown.map((picture) => picture.side);
  }

  // What keeps them from being sent, in words; or nothing.
  get problem() {
    if (!this.#shown.length) return "Choose a picture first.";
    const sides = this.sides;
    const twice = sides.find((side, at) => sides.indexOf(side) !== at);
    if (twice) return `Two pictures are said to show the ${twice}; each side can be shown once.`;
    return sides.includes("front") ? "" : "One picture has to show the front.";
  }

  // Takes files in, with sides if they are known; the words for those that are no pictures come back.
  add(files, sides = []) {
    const refused = [];
    for (const [at, file] of [...files].entries()) {
      if (!TYPES.includes(file.type)) refused.push(file.name || "what was pasted");
      else if (this.#shown.length >= SIDES.length) refused.push(`${file.name} (four sides are all there are)`);
      else this.#shown.push({ file, side: sides[at] || this.#freeSide(), url: URL.createObjectURL(file) });
    }
    this.#draw();
    const problem = refused.length ? `Not taken: ${refused.join(", ")}. Pictures are PNG, JPEG or WebP.` : "";
    this.dispatchEvent(new CustomEvent("change", { detail: problem }));
  }

  replace(files, sides) {
    this.clear();
    this.add(files, sides);
  }

  clear() {
    for (const { url } of this.#shown) URL.revokeObjectURL(url);
    this.#shown = [];
    this.#draw();
  }

  #freeSide() {
    return SIDES.find((side) => !this.sides.includes(side));
  }

  #remove(picture) {
    URL.revokeObjectURL(picture.url);
    this.#shown = this.#shown.filter((other) => other !== picture);
    this.#draw();
    (this.tray.querySelector("button") || $("file")).focus();
    this.dispatchEvent(new CustomEvent("change", { detail: "" }));
  }

  #draw() {
    const any = this.#shown.length > 0;
    this.drop.classList.toggle("filled", any);
    this.tray.hidden = !any;
    this.drop.querySelector(".drop-ask").classList.toggle("unseen", any);
    this.tray.replaceChildren(...this.#shown.map((picture) => this.#item(picture)), ...(this.#full ? [] : [adder()]));
    this.tray.dataset.count = this.#shown.length;
  }

  get #full() {
    return this.#shown.length >= SIDES.length;
  }

  #item(picture) {
    const { file, url } = picture;
    const image = h("img", { src: url, alt: file.name });
    image.onerror = () => image.replaceWith(h("span.unreadable", {}, `${file.name} cannot be shown`));
    return h(
      "li.picture",
      {},
      image,
      h(
        "button.icon.remove",
        { type: "button", "aria-label": `Remove ${file.name}`, onclick: () => this.#remove(picture) },
        icon("cross"),
      ),
      this.#sideSelect(picture),
    );
  }

  #sideSelect(picture) {
    const options = SIDES.map((side) => h("option", { value: side, selected: side === picture.side }, side));
    const changed = (event) => {
      picture.side = event.target.value;
      this.dispatchEvent(new CustomEvent("change", { detail: "" }));
    };
    return h(
      "label.side-of",
      {},
      h("span.unseen", {}, `Side that ${picture.file.name} shows`),
      h("select", { onchange: changed }, options),
    );
  }
}

const adder = () =>
  h(
    "li.adder",
    {},
    h("label", { for: "file", title: "Add another side" }, icon("plus"), h("span", {}, "Another side")),
  );
