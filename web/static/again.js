// The second stage again, on a structure that is there already: a few settings and a button.

import { randomKey, submit } from "./api.js";
import { controlOf } from "./controls.js";
import { h, words } from "./dom.js";
import { readFields, without } from "./schema.js";

const FIELDS = ["seed", "slat_sample_steps", "slat_cfg_strength", "simplify_ratio", "texture_size"];
const STRUCTURE = "stage1_output/latent.npz";

// The form, where the job's pipeline has stages and a structure to go on from: its own, or that which it was made from.
export function again(job, onSent) {
  const source = job.urls.files?.[STRUCTURE] ? job.job_id : job.made_from;
  if (!job.params.stage || !source) return null;
  const rows = h("div.rows");
  const problem = h("p.problem", { role: "alert", hidden: true });
  const button = h("button", { disabled: true }, "Make it again");
  const form = h(
    "form.card.again",
    { noValidate: true, "aria-label": "Again from its structure" },
    h("h2", {}, "Again from its structure"),
    h("p.hint", {}, "The shape stays, and its surface is made anew."),
    rows,
    problem,
    button,
  );
  const say = (text) => {
    problem.hidden = !text;
    problem.textContent = text;
  };
  let controls = {};
  build(job, rows).then(
    (found) => {
      controls = found;
      button.disabled = false;
    },
    (error) => say(`The settings cannot be shown: ${error.message}`),
  );
  form.onsubmit = async (event) => {
    event.preventDefault();
    say("");
    button.disabled = true;
    try {
      onSent(await send(job, source, controls));
    } catch (error) {
      say(error.message);
    }
    button.disabled = false;
  };
  return form;
}

// A row for each field that the job's pipeline heeds, with the job's own values in it.
async function build(job, rows) {
  const fields = await readFields();
  const controls = {};
  for (const name of FIELDS.filter((one) => fields[one]?.["x-pipelines"]?.includes(job.pipeline))) {
    const { element, whole, read, write } = controlOf(name, fields[name]);
    element.id = `again-${name}`; // the page where new jobs are made has the same fields
    write(job.params[name] ?? fields[name].default);
    controls[name] = read;
    const label = h("label", { for: element.id, title: name }, fields[name].title ?? words(name));
    rows.append(h("div.field", {}, label, whole ?? element));
  }
  return controls;
}

function send(job, source, controls) {
  const form = new FormData();
  const chosen = Object.fromEntries(Object.entries(controls).map(([name, read]) => [name, read()]));
  const values = { ...without(job.params, "stage"), ...chosen, stage: "stage2", job_id: source };
  for (const [name, value] of Object.entries(values)) if (value !== null) form.append(name, value);
  const { signal } = new AbortController();
  return submit(form, { idempotencyKey: randomKey(), signal, onProgress: () => {} });
}
