// The files of a finished job: fetched with the key, then handed to the browser to keep.

import { request } from "./api.js";
import { h, icon } from "./dom.js";

// What the model can be turned into: what it is called, and what follows the address of output.glb.
const FORMATS = [
  ["OBJ", "as=obj"],
  ["STL", "as=stl"],
  ["PLY", "as=ply"],
  ["USDZ", "as=usdz"],
  ["GLB Draco", "as=glb&compression=draco"],
  ["GLB Meshopt", "as=glb&compression=meshopt"],
];

export function downloads(job, say) {
  const { files } = job.urls;
  const model = files["output.glb"];
  const stem = (job.image_name || "model").replace(/\.\w+$/, "") || "model";
  const item = (label, address, name, kind = "a.format") =>
    h(
      kind,
      { href: address, download: name, onclick: (event) => keep(event, address, name, say) },
      icon("down"),
      label,
    );
  const formats = FORMATS.map(([label, query]) =>
    item(label, `${model}?${query}`, `${stem}.${/as=(\w+)/.exec(query)[1]}`),
  );
  const pictures = [
    ["Turntable", "turntable.webp"],
    ["Manifest", "manifest.json"],
  ]
    .filter(([, name]) => files[name])
    .map(([label, name]) => item(label, files[name], `${stem}-${name}`));
  const any = Object.values(files)[0];
  return h(
    "section.card.downloads",
    { "aria-label": "Downloads" },
    h("h2", {}, "Take it with you"),
    model ? item("Download GLB", model, `${stem}.glb`, "a.button.primary") : null,
    h("div.formats", {}, model ? formats : [], pictures, item("Everything, ZIP", `${any}?as=zip`, `${stem}.zip`)),
    allFiles(files, item),
  );
}

const allFiles = (files, item) =>
  h(
    "details.more",
    {},
    h("summary", {}, `All ${Object.keys(files).length} files`),
    h(
      "ul.files",
      {},
      Object.entries(files).map(([name, address]) => h("li", {}, item(name, address, name.replaceAll("/", "-"), "a"))),
    ),
  );

async function keep(event, address, name, say) {
  if (event.metaKey || event.ctrlKey) return; // whoever wants a tab of its own gets one
  event.preventDefault();
  const link = event.currentTarget;
  if (link.ariaBusy === "true") return;
  link.ariaBusy = "true";
  say("");
  try {
    const response = await request(address);
    save(await response.blob(), givenName(response) || name);
  } catch (error) {
    say(`${link.textContent}: ${error.message}`);
  } finally {
    link.ariaBusy = null;
  }
}

// The name the service gives: in full if it is there, else in plain letters.
function givenName(response) {
  const header = response.headers.get("Content-Disposition") ?? "";
  const full = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1];
  return full ? decodeURIComponent(full) : /filename="?([^";]+)"?/.exec(header)?.[1];
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
