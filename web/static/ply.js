// Which of a job's files hold Gaussians.

import { request } from "./api.js";

const HEAD_BYTES = 4096;

// The address of the first file that holds Gaussians. An ordinary mesh may be a .ply too; its header tells.
export async function findSplats(files) {
  for (const [name, path] of Object.entries(files)) {
    if (name.endsWith(".ply") && (await isGaussian(path))) return path;
  }
  return "";
}

async function isGaussian(path) {
  const answer = await request(path, { headers: { Range: `bytes=0-${HEAD_BYTES - 1}` } }).catch(() => null);
  const head = (await answer?.text()) ?? "";
  return ["f_dc_0", "opacity", "scale_0", "rot_0"].every((name) => head.includes(` ${name}\n`));
}
