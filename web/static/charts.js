// Small charts in SVG: one bar or point a minute, the newest at the right.

import { h, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 84;

const top = (values) => Math.max(...values.map((value) => value ?? 0));

function frame(title, reading, about, drawing, span) {
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": about },
    ...drawing,
  );
  return h(
    "figure.chart",
    {},
    h("figcaption", {}, h("span", {}, title), h("b", {}, reading)),
    picture,
    h("div.axis", {}, h("span", {}, span), h("span", {}, "now")),
  );
}

// Stacked bars. `series`: [{name, className, values}]
export function bars(title, reading, series) {
  const count = series[0].values.length;
  const totals = series[0].values.map((_, at) => series.reduce((sum, { values }) => sum + values[at], 0));
  const highest = Math.max(top(totals), 1);
  const step = WIDTH / count;
  const drawing = [baseline()];
  for (let at = 0; at < count; at += 1) {
    let floor = HEIGHT - 1;
    for (const { className, values } of series) {
      const height = (values[at] / highest) * (HEIGHT - 6);
      floor -= height;
      if (height)
        drawing.push(
          svg("rect", { class: className, x: at * step + step * 0.15, y: floor, width: step * 0.7, height, rx: 0.8 }),
        );
    }
  }
  const sums = series.map(({ name, values }) => `${values.reduce((a, b) => a + b, 0)} ${name}`);
  const about = `${title}: ${sums.join(", ")} in ${count} minutes`;
  return frame(title, reading, about, drawing, `${count} min ago`);
}

// A line over the minutes that have a value; a dot where one stands alone.
export function line(title, reading, values, format) {
  const highest = Math.max(top(values), 1); // a second at least: less is no wait worth a mountain
  const x = (at) => ((at + 0.5) / values.length) * WIDTH;
  const y = (value) => HEIGHT - 4 - (value / highest) * (HEIGHT - 12);
  const points = values
    .map((value, at) => (value === null || value === undefined ? null : [x(at), y(value)]))
    .filter(Boolean);
  const drawing = [baseline()];
  if (points.length > 1) drawing.push(svg("polyline", { points: points.map((point) => point.join()).join(" ") }));
  // A path of no length with round ends is a dot that keeps its shape when the chart is stretched.
  for (const [left, up] of points) drawing.push(svg("path", { class: "dot", d: `M${left} ${up}h0` }));
  const about = points.length ? `${title}: at most ${format(highest)}` : `${title}: nothing in the last hour`;
  return frame(title, reading, about, drawing, `${values.length} min ago`);
}

const baseline = () => svg("path", { class: "base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
