// Starts the page, and shows what the address asks for: #new, #job=<id> or #service.

import { apiKey, connection, onKeyWanted, pause, setKey } from "./api.js";
import { Compose } from "./compose.js";
import { askForKey } from "./dialogs.js";
import { $ } from "./dom.js";
import { History } from "./history.js";
import { JobPage } from "./job.js";
import { ServicePage } from "./service.js";

const RETRY_MS = 2000;

onKeyWanted(askForKey);

const sent = (answer) => {
  location.hash = `#job=${answer.request_id}`;
  history.refresh();
};
const compose = new Compose(sent);

const deeds = {
  refill: (job) => refill(job),
  retry: async (job) => (await refill(job)) && $("compose").requestSubmit(),
  sent,
  changed: () => history.refresh(),
  deleted: (job) => location.hash === `#job=${job.job_id}` && (location.hash = "#new"),
};
const history = new History(deeds);
const job = new JobPage(deeds);
const service = new ServicePage();

async function refill(made) {
  location.hash = "#new";
  return compose.refill(made);
}

function route() {
  const [, page, id] = /^#(job)=([\w-]+)$/.exec(location.hash) ?? /^#(service)$/.exec(location.hash) ?? [null, "new"];
  for (const section of document.querySelectorAll(".page")) section.hidden = section.id !== `page-${page}`;
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  job.close();
  service.close();
  $("recent").classList.toggle("elsewhere", page === "service");
  history.mark(id);
  if (page === "job") job.open(id);
  if (page === "service") service.open();
  scrollTo(0, 0);
}

// A person who went somewhere with the keyboard goes on from there.
function onMove() {
  route();
  document.querySelector(".page:not([hidden]) h1").focus({ preventScroll: true });
}

// Asks until somebody answers, and says so meanwhile.
async function waitForService() {
  $("unreachable").textContent = "The service cannot be reached. Trying again…";
  $("unreachable").hidden = false;
  for (;;) {
    await pause(RETRY_MS);
    if (
      await fetch("/health/live", { cache: "no-store" }).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      break;
  }
  $("unreachable").hidden = true;
  connection.dispatchEvent(new Event("back"));
}

function noteKey() {
  $("forget-key").hidden = !apiKey();
}

$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says which page is open
  $("main").focus();
});
$("forget-key").addEventListener("click", () => {
  setKey("");
  location.reload();
});
connection.addEventListener("lost", waitForService);
connection.addEventListener("back", () => {
  route();
  compose.start();
});
connection.addEventListener("key", noteKey);
addEventListener("hashchange", onMove);

noteKey();
route();
compose.start();
history.refresh();
