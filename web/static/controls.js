// One field of a form for one field of a schema: how it is read and written, and what it looks like.

import { h, icon } from "./dom.js";

const WIDEST_RANGE = 200; // steps a slider can still be aimed at

export function controlOf(name, field) {
  if (field.enum) return select(name, field);
  if (field.type === "array" && field.items?.enum) return choices(name, field);
  if (field.type === "boolean") return checkbox(name, field);
  if (field.type === "integer" || field.type === "number") return numeric(name, field);
  return text(name, field);
}

export function select(name, field) {
  const options = field.enum.map((value) => h("option", { value, selected: value === field.default }, String(value)));
  const element = h("select", { id: `field-${name}`, name }, options);
  const read = () => field.enum.find((value) => String(value) === element.value); // a number stays one
  return { element, read, write: (value) => (element.value = value) };
}

function checkbox(name, field) {
  const element = h("input", { id: `field-${name}`, name, type: "checkbox", checked: Boolean(field.default) });
  return { element, read: () => element.checked, write: (value) => (element.checked = Boolean(value)) };
}

// Several of a list, as one text with commas between.
function choices(name, field) {
  const boxes = field.items.enum.map((value) => h("input", { type: "checkbox", value }));
  const labels = boxes.map((box) => h("label.choice", {}, box, box.value));
  const element = h("div.choices", { id: `field-${name}`, role: "group", tabIndex: -1, "aria-label": name }, labels);
  const read = () =>
    boxes
      .filter((box) => box.checked)
      .map((box) => box.value)
      .join();
  const write = (value) => {
    const wanted = String(value).split(",");
    for (const box of boxes) box.checked = wanted.includes(box.value);
  };
  write(field.default ?? "");
  return { element, read, write };
}

function text(name, field) {
  const element = h("input", { id: `field-${name}`, name, type: "text", value: field.default ?? "" });
  return { element, read: () => element.value, write: (value) => (element.value = value) };
}

// A number; with a slider beside it where its range is one that a slider can show.
function numeric(name, field) {
  const step = field.multipleOf ?? (field.type === "integer" ? 1 : 0.05);
  const low = field.minimum ?? field.exclusiveMinimum + step;
  const high = field.maximum ?? field.exclusiveMaximum - step;
  const element = h("input", { id: `field-${name}`, name, type: "number", value: field.default ?? "" });
  element.min = field.minimum ?? "";
  element.max = field.maximum ?? "";
  element.step = field.multipleOf ?? (field.type === "integer" ? 1 : "any");
  // An emptied field means the default, and what is no number goes to the service, which says why it cannot be.
  const read = () => (element.value === "" ? (field.default ?? "") : Number(element.value));
  const control = { element, read, write: (value) => (element.value = value) };
  if (name === "seed") return { ...control, whole: h("div.pair", {}, element, dice(element)) };
  return high - low <= WIDEST_RANGE * step ? withSlider(control, low, high, step) : control;
}

function withSlider(control, low, high, step) {
  const { element } = control;
  const slider = h("input", {
    type: "range",
    min: low,
    max: high,
    step,
    value: element.value,
    tabIndex: -1,
    "aria-hidden": "true",
  });
  slider.oninput = () => (element.value = slider.value);
  element.oninput = () => (slider.value = element.value);
  const write = (value) => (element.value = slider.value = value);
  return { ...control, write, whole: h("div.pair", {}, slider, element) };
}

function dice(element) {
  const roll = () => {
    element.value = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  };
  return h(
    "button.icon",
    { type: "button", title: "Another seed", "aria-label": "Another seed", onclick: roll },
    icon("dice"),
  );
}
