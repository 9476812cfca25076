// Questions that have to be answered before anything else. <dialog> keeps the focus inside and gives it back.

import { $ } from "./dom.js";

function ask(dialog) {
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export function confirm(title, text, deed) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = deed;
  return ask($("confirm"));
}

// The key that was typed in; "" for not now.
export async function askForKey(problem) {
  $("key-problem").hidden = !problem;
  $("key-problem").textContent = problem;
  $("key-text").value = "";
  const given = await ask($("key"));
  return given ? $("key-text").value.trim() : "";
}
