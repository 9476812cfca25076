// Runs before the first paint, so that a chosen theme never flashes the other one. That is why it is no module.
const THEMES = ["auto", "light", "dark"];
const WORDS = { auto: "as the system", light: "light", dark: "dark" };

function chosenTheme() {
  try {
    const chosen = localStorage.getItem("maquette.theme");
    return THEMES.includes(chosen) ? chosen : "auto";
  } catch {
    return "auto"; // storage may be switched off
  }
}

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("theme"));
}

function rememberTheme(theme) {
  try {
    localStorage.setItem("maquette.theme", theme);
  } catch {
    // then it holds until the page is left
  }
}

function labelButton(button, theme) {
  button.ariaLabel = button.title = `Colours: ${WORDS[theme]}`;
  button.querySelector("use").setAttribute("href", `#i-${theme}`);
}

applyTheme(chosenTheme());

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  let theme = chosenTheme();
  labelButton(button, theme);
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    rememberTheme(theme);
    applyTheme(theme);
    labelButton(button, theme);
  });
});
