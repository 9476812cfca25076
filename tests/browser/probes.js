// What the tests ask of a page, put into it before its own scripts.

window.probes = {
  // Drags, drops or pastes files ([name, type, base64]), as a person's hand would.
  carry(files, kind) {
    const carried = new DataTransfer();
    for (const [name, type, text] of files) {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      carried.items.add(new File([bytes], name, { type }));
    }
    const options = { bubbles: true, cancelable: true };
    if (kind === "paste") {
      document.body.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: carried }));
      return;
    }
    const target = document.getElementById("drop");
    const send = (name) => target.dispatchEvent(new DragEvent(name, { ...options, dataTransfer: carried }));
    for (const name of ["dragenter", "dragover"]) send(name);
    if (kind === "drop") send("drop");
  },

  // Writes down what a job's page shows, as it changes: [kind, text] pairs in `seen`.
  watch() {
    this.seen = [];
    const text = (selector) => document.querySelector(selector)?.textContent;
    const readings = {
      state: () => document.getElementById("stage").dataset.state,
      status: () => text("#job-status"),
      line: () => text(".progress .line"),
      bar: () => document.querySelector(".progress progress")?.getAttribute("value"),
      said: () => text("#announce"),
    };
    const note = () => {
      for (const [kind, read] of Object.entries(readings)) {
        const value = read();
        const last = this.seen.findLast(([one]) => one === kind);
        if (value && last?.[1] !== value) this.seen.push([kind, value]);
      }
    };
    const everything = { subtree: true, childList: true, attributes: true, characterData: true };
    new MutationObserver(note).observe(document.getElementById("page-job"), everything);
  },

  countFrames() {
    this.frames = 0;
    const real = window.requestAnimationFrame;
    window.requestAnimationFrame = (draw) => {
      this.frames += 1;
      return real.call(window, draw);
    };
  },

  graphics: (deed) => {
    const canvas = document.querySelector("#stage canvas");
    window.probes.context ??= canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
    window.probes.context[deed]();
  },

  getJson: async (path) => (await fetch(path)).json(),

  erase: (id, key = "") =>
    fetch(`/jobs/${id}`, { method: "DELETE", headers: key ? { "X-API-Key": key } : {} }).then(() => {}),

  // Elements that reach beyond the right edge of the screen.
  overflowing: () =>
    [...document.querySelectorAll("body *")]
      .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 1 && box.right > innerWidth + 1 && getComputedStyle(element).visibility !== "hidden";
      })
      .map(name),

  // Custom properties that rules use and nobody gives a value.
  undefinedStyles() {
    const text = [...document.styleSheets]
      .flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText))
      .join("\n");
    const used = new Set([...text.matchAll(/var\((--[\w-]+)/g)].map(([, variable]) => variable));
    const style = getComputedStyle(document.documentElement);
    return [...used].filter((variable) => !style.getPropertyValue(variable).trim());
  },

  // Things to press that a finger would miss.
  small: (least) =>
    [...document.querySelectorAll("button, select, .button, .format, .segment")]
      .filter((element) => {
        const { width, height } = element.getBoundingClientRect();
        return width > 0 && Math.min(width, height) < least;
      })
      .map(name),

  // Things to use that a screen reader has no word for.
  nameless: () =>
    [...document.querySelectorAll("button, a, input, select, canvas, img, progress, [role]")]
      .filter((element) => !element.closest("[hidden], [aria-hidden], dialog:not([open])"))
      .filter((element) => !element.matches("[alt], [aria-labelledby], [role=status], [role=alert]"))
      .filter(
        (element) => !(element.ariaLabel || element.textContent.trim() || element.labels?.length || element.title),
      )
      .map(name),

  // [pair, ratio, what WCAG AA wants] for the colours of the theme.
  contrasts() {
    const grounds = ["--paper", "--card", "--stage-top", "--stage-foot"];
    const words = ["--ink", "--muted", "--accent"].flatMap((name) => grounds.map((ground) => [name, ground]));
    const more = [
      ["--on-accent", "--accent"],
      ["--accent", "--accent-soft"],
      ["--danger", "--danger-soft"],
      ["--ink", "--danger-soft"],
      ["--card", "--danger"],
      ["--warn", "--warn-soft"],
      ["--muted", "--line"],
      ["--ink", "--line"],
    ];
    const edges = [
      ["--edge", "--card"],
      ["--edge", "--paper"],
    ];
    const told =
      (least) =>
      ([one, other]) => [`${one} on ${other}`, ratio(one, other), least];
    return [...words.concat(more).map(told(4.5)), ...edges.map(told(3))];
  },
};

const name = (element) => element.outerHTML.slice(0, 110);

function ratio(one, other) {
  const [dark, light] = [bright(one), bright(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

// Relative luminance as WCAG defines it.
const bright = (variable) =>
  channels(variable)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);

// A colour as it is drawn, however it is written.
function channels(variable) {
  const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  paper.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  paper.fillRect(0, 0, 1, 1);
  return [...paper.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255);
}
