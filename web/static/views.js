// The five views of the first stage as a strip, and one of them large.

import { show } from "./api.js";
import { $, h } from "./dom.js";

// In the order of their numbers. Left is the object's own left.
const DIRECTIONS = ["Front", "Left", "Back", "Right", "Close up"];
const KINDS = { color: "Colour", normal: "Normals" };

const found = (files, kind) =>
  DIRECTIONS.map((direction, at) => ({
    caption: `${direction}, ${KINDS[kind].toLowerCase()}`,
    path: files[`stage1_output/${kind}_${at}.png`],
  })).filter(({ path }) => path);

export function drawViews(place, paths, files) {
  const kinds = Object.keys(KINDS).filter((kind) => found(paths, kind).length);
  place.hidden = !kinds.length;
  if (!kinds.length) return place.replaceChildren();
  const strip = h("ul.strip");
  const fill = (kind) => {
    const views = found(paths, kind);
    strip.replaceChildren(...views.map((view, at) => h("li", {}, thumbnail(views, at, files))));
  };
  fill(kinds[0]);
  const choice = kinds.map((kind, at) =>
    h(
      "label.segment",
      {},
      h("input", { type: "radio", name: "view-kind", checked: at === 0, onchange: () => fill(kind) }),
      h("span", {}, KINDS[kind]),
    ),
  );
  const title = h("h2", {}, "Five views");
  place.replaceChildren(
    h("div.strip-head", {}, title, h("div.segments", { role: "radiogroup", "aria-label": "Which views" }, choice)),
    strip,
  );
}

function thumbnail(views, at, files) {
  const { caption, path } = views[at];
  const image = show(h("img", { alt: caption }), files, path);
  return h("button.view", { type: "button", title: caption, onclick: () => enlarge(views, at, files) }, image);
}

function enlarge(views, start, files) {
  const box = $("lightbox");
  let at = start;
  const turnTo = (next) => {
    at = (next + views.length) % views.length;
    $("lightbox-image").alt = views[at].caption;
    $("lightbox-caption").textContent = `${views[at].caption} (${at + 1} of ${views.length})`;
    show($("lightbox-image"), files, views[at].path);
  };
  $("lightbox-before").onclick = () => turnTo(at - 1);
  $("lightbox-after").onclick = () => turnTo(at + 1);
  $("lightbox-close").onclick = () => box.close();
  box.onclick = (event) => event.target === box && box.close();
  box.onkeydown = (event) => {
    if (event.key === "ArrowLeft") turnTo(at - 1);
    if (event.key === "ArrowRight") turnTo(at + 1);
  };
  turnTo(start);
  box.showModal();
}
