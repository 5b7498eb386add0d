// Before the first paint: the theme the reader chose last time. Without a choice the system's preference rules.
(() => {
  const root = document.documentElement;
  const remembered = (() => { try { return localStorage.getItem("dermedge.theme"); } catch { return null; } })();
  if (remembered === "light" || remembered === "dark") root.dataset.theme = remembered;
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("dermedge.theme", root.dataset.theme); } catch { /* storage is switched off */ }
    });
  });
})();
