// Before the first paint: the theme that was chosen, or the system's; and a class that says script is on.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("theme") || "system"; } catch { return "system"; }
  };
  const apply = () => {
    const choice = chosen();
    const dark = choice === "system" ? system.matches : choice === "dark";
    root.dataset.bsTheme = dark ? "dark" : "light";
  };
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  root.classList.add("js");
  window.ringplanTheme = { chosen, choose(choice) {
    try { localStorage.setItem("theme", choice); } catch { /* private mode: it lasts for this page */ }
    apply();
    if (chosen() !== choice) root.dataset.bsTheme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
  } };
  apply();
})();
