// Small words for making elements and saying numbers.

export const $ = (id) => document.getElementById(id);

// h("a.quiet", {href: "#new", onclick}, "text", child, null): null is left out, and text is never read as HTML.
export function h(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) set(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined) return;
  if (name.includes("-") || name === "for" || name === "role" || name === "list") element.setAttribute(name, value);
  else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
  else if (name === "data") Object.assign(element.dataset, value);
  else element[name] = value;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const icon = (name) => svg("svg", { "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

export const iconButton = (name, label, onclick) =>
  h("button.icon", { type: "button", title: label, "aria-label": label, onclick }, icon(name));

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const words = (name) => capital(name.replaceAll("_", " "));

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${Number.isInteger(value) ? value : value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return value < 5400 ? `${Math.round(value / 60)} min` : `${(value / 3600).toFixed(1)} h`;
}

export function ago(unix) {
  const past = Math.max(Date.now() / 1000 - unix, 0);
  if (past < 45) return "just now";
  if (past < 5400) return `${Math.round(past / 60) || 1} min ago`;
  return past < 129600 ? `${Math.round(past / 3600)} h ago` : `${Math.round(past / 86400)} days ago`;
}

export const gigabytes = (megabytes) => `${(megabytes / 1024).toFixed(1)} GB`;

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
