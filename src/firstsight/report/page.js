"use strict";
const root = document.documentElement, button = document.getElementById("theme");
const remembered = (value) => { try { return value ? localStorage.setItem("firstsight-theme", value) : localStorage.getItem("firstsight-theme"); } catch { return null; } };
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const showTheme = () => { button.textContent = isDark() ? "Light" : "Dark"; button.setAttribute("aria-pressed", isDark()); };
if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
button.hidden = false;
button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remembered(root.dataset.theme); showTheme(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, place) => head.querySelector("button")?.addEventListener("click", () => {
    const up = head.ariaSort ? head.ariaSort === "descending" : place === 0;  // numbers: the highest first
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[place].dataset.value ?? "";
    const order = (a, b) => (place === 0 ? value(a).localeCompare(value(b)) : value(a) - value(b)) * (up ? 1 : -1);
    const missing = (row) => value(row) === "";
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => missing(a) - missing(b) || order(a, b)));
  }));
}

// Where a curve meets the ray on which u is this share of u + s; curves.py does the same for the page as it comes.
const meet = ({ u, s, gamma }, share) => {
  const over = u.map((value, k) => (1 - share) * value - share * s[k]);
  let k = over.findIndex((value) => value >= 0);
  if (k < 0) k = u.length - 1;
  let [x, y] = [u[k], s[k]];
  if (k > 0 && over[k] > 0) {
    const part = over[k - 1] / (over[k - 1] - over[k]);
    x = u[k - 1] + part * (u[k] - u[k - 1]);
    y = s[k - 1] + part * (s[k] - s[k - 1]);
  }
  return { u: x, s: y, h: x + y > 0 ? 2 * x * y / (x + y) : 0, gamma: gamma[k] };
};

for (const figure of document.querySelectorAll("figure.trade")) {
  const curves = JSON.parse(figure.querySelector("[data-curves]").textContent);
  const slider = figure.querySelector("input[type=range]"), output = figure.querySelector("output");
  const [left, floor, across, up, uReach, sReach] = figure.querySelector("svg.curve").dataset.frame.split(" ").map(Number);
  const parts = new Map(curves.map((curve) => [curve, {
    row: figure.querySelector(`tr[data-slot="${curve.slot}"]`),
    drawn: figure.querySelectorAll(`g[data-slot="${curve.slot}"]`),
  }]));
  const isShown = (curve) => parts.get(curve).row.querySelector("input").checked;
  const write = (row, name, text) => { row.querySelector(`[data-live=${name}]`).textContent = text; };

  const show = () => {
    const share = slider.value / 100;
    const reach = Math.min(share ? uReach / share : Infinity, share < 1 ? sReach / (1 - share) : Infinity);
    figure.querySelector(".ray").setAttribute("d", `M${left} ${floor}L${left + share * reach * across} ${floor - (1 - share) * reach * up}`);
    let first = null;
    for (const curve of curves) {
      const { row, drawn } = parts.get(curve), at = meet(curve, share);
      for (const name of ["u", "s", "h"]) write(row, name, at[name].toFixed(1));
      write(row, "gamma", at.gamma === undefined ? "–" : String(at.gamma).replace("-", "−"));
      for (const group of drawn) {
        group.style.display = isShown(curve) ? "" : "none";
        const ring = group.querySelector(".ring");
        ring?.setAttribute("cx", left + at.u * across);
        ring?.setAttribute("cy", floor - at.s * up);
      }
      if (isShown(curve) && at.h > 0 && (!first || at.h > first.h)) first = { name: curve.name, ...at };
    }
    const ratio = `u : s = ${slider.value} : ${100 - slider.value}`;
    slider.setAttribute("aria-valuetext", ratio);
    output.textContent = ratio + (first ? `; highest of those shown: ${first.name}, u ${first.u.toFixed(1)}, s ${first.s.toFixed(1)}, H ${first.h.toFixed(1)}` : "");
  };

  for (const [, { row, drawn }] of parts) {
    const box = row.querySelector("input");
    box.hidden = false;
    box.addEventListener("change", show);
    const stress = (on) => drawn.forEach((group) => group.classList.toggle("stressed", on));
    row.addEventListener("pointerenter", () => stress(true));
    row.addEventListener("pointerleave", () => stress(false));
    box.addEventListener("focus", () => stress(true));
    box.addEventListener("blur", () => stress(false));
  }
  slider.closest(".balance").hidden = false;
  slider.addEventListener("input", show);
  show();
}

// Paper shows everything that is folded; afterwards the page is as before.
let folded = [];
addEventListener("beforeprint", () => { folded = [...document.querySelectorAll("details:not([open])")]; folded.forEach((one) => { one.open = true; }); });
addEventListener("afterprint", () => { folded.forEach((one) => { one.open = false; }); folded = []; });
