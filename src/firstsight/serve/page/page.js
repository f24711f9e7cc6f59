// The page: a picture, the ranking, and a class that is described while the ranking follows.
import { addClass, classes, deleteClass, oneClass, predict } from "./api.js";
import { Imagination, showReconstruction } from "./drawings.js";
import { Editor, attributeName, plain } from "./editor.js";

const find = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...inside) => { const one = Object.assign(document.createElement(tag), properties); one.append(...inside); return one; };
const SHOWN = 6, DRAFT = "new class";
const state = { known: null, editor: null, like: "", imagination: null, picture: null, asking: null, timer: 0, saving: false, address: null };

// -- light and dark -------------------------------------------------------------------------------------------------
const root = document.documentElement, theme = find("theme");
const remembered = (value) => { try { return value ? localStorage.setItem("firstsight-theme", value) : localStorage.getItem("firstsight-theme"); } catch { return null; } };
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const showTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", isDark()); };
if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
theme.hidden = false;
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remembered(root.dataset.theme); showTheme(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();

// -- words ----------------------------------------------------------------------------------------------------------
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const sentence = (error) => { const text = capital(error.message.trim()); return /[.!?]$/.test(text) ? text : `${text}.`; };
const percent = (chance) => (chance > 0 && chance < 0.001 ? "<\u00a00.1\u00a0%" : `${(100 * chance).toFixed(1)}\u00a0%`);
const count = (n, one, many = `${one}es`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const complain = (id, error) => { find(id).hidden = !error; find(id).textContent = error ? sentence(error) : ""; };

// -- the picture ----------------------------------------------------------------------------------------------------
function take(file) {
  if (!file) return;
  if (state.address) URL.revokeObjectURL(state.address);
  state.address = URL.createObjectURL(file);
  state.picture = { file, key: null, drawn: null };
  showReconstruction(null);
  const name = file.name || "pasted picture";
  find("shown").alt = `Your picture, ${name}`;
  find("shown").hidden = false;
  find("nameless").hidden = true;
  find("nameless").textContent = name;
  find("shown").src = state.address;
  find("drop").classList.add("full");
  find("drop-hint").textContent = "Drop or paste another, or";
  ask();
}
find("shown").addEventListener("error", () => { find("shown").hidden = true; find("nameless").hidden = false; });  // a kind that browsers do not draw
find("file").addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); take(event.clipboardData.files[0]); } });
for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); find("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) find("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => { event.preventDefault(); find("drop").classList.remove("over"); take(event.dataTransfer.files[0]); });

// -- question and answer --------------------------------------------------------------------------------------------
function draft() {
  if (!state.editor || (state.like === "" && !state.editor.isTouched)) return null;
  const taken = new Set(state.known.classes.map((one) => one.name));
  let name = find("name").value.trim() || DRAFT;
  while (taken.has(name)) name += "′";  // the ranking needs another one; saving says so
  return { name: name.slice(-100), ...state.editor.described(state.like) };
}

async function ask() {
  clearTimeout(state.timer);
  if (state.saving) return;  // the class would be asked about as one that is both new and known
  state.imagination?.show(draft());
  if (!state.picture || !state.known) { stand(null); return; }
  state.asking?.abort();
  const asking = state.asking = new AbortController();
  const described = draft();
  const options = { top: SHOWN, explain: state.known.can_explain, reject: state.known.can_reject };
  const only = document.querySelector("[name=only]:checked").value;
  if (only) options.only = only;
  if (state.known.can_draw && !state.picture.drawn) options.reconstruct = true;
  if (described) options.extra_classes = [described];
  find("look").classList.add("waiting");
  find("look").setAttribute("aria-busy", "true");
  try {
    show(await predict(state.picture, options, asking.signal), described);
    complain("problem", null);
  } catch (error) {
    if (error.name === "AbortError") return;
    complain("problem", error);
    if (!described || !state.picture.key) forget();
  }
  if (state.asking === asking) { find("look").classList.remove("waiting"); find("look").setAttribute("aria-busy", "false"); }
}
const askSoon = (isTyping = false) => { clearTimeout(state.timer); state.timer = setTimeout(ask, isTyping ? 300 : 120); };

function forget() {
  find("ranking").replaceChildren();
  for (const id of ["ranking", "because", "rejected"]) find(id).hidden = true;
  find("nothing").hidden = false;
  find("said").textContent = find("standing").textContent = "";
}

function row(place, entry, isDraft) {
  const tags = [make("span", { className: `kind ${entry.seen ? "seen" : "unseen"}`, textContent: entry.seen ? "seen" : "unseen" })];
  if (entry.added) tags.push(make("span", { className: "kind", textContent: "added" }));
  if (isDraft) tags.push(make("span", { className: "kind draft", textContent: "not saved" }));
  const old = [...find("ranking").children].find((one) => one.dataset.name === entry.class);
  const fill = old ? old.querySelector(".bar i") : make("i");  // kept, so that its width moves
  const bar = make("span", { className: "bar" }, fill);
  bar.setAttribute("aria-hidden", "true");
  requestAnimationFrame(() => { fill.style.width = `${100 * entry.probability}%`; });
  const one = make("li", { className: `${entry.seen ? "seen" : "unseen"}${isDraft ? " draft-row" : ""}`, title: entry.class },
    make("span", { className: "place", textContent: `${place}.` }), make("span", { className: "who" }, make("b", { textContent: plain(entry.class) }), ...tags),
    make("span", { className: "chance", textContent: percent(entry.probability) }), bar);
  one.dataset.name = entry.class;
  return one;
}

function show(found, described) {
  const isDraft = (entry) => described !== null && entry.class === described.name;
  const rows = found.answers.map((entry, at) => row(at + 1, entry, isDraft(entry)));
  const late = found.extra.find((entry) => entry.rank > found.answers.length);
  if (late) { rows.push(row(late.rank, { ...late, seen: false, added: false }, true)); rows.at(-1).classList.add("apart"); }
  find("ranking").replaceChildren(...rows);
  find("ranking").hidden = false;
  find("nothing").hidden = true;
  find("rejected").hidden = !found.rejected;
  const best = found.answers[0];
  if (!described) find("said").textContent = `${found.rejected ? "None of these fits well enough. " : ""}Best: ${plain(best.class)}, ${percent(best.probability)}, ${best.seen ? "seen" : "unseen"}.`;
  if (found.reconstruction) showReconstruction(state.picture.drawn = found.reconstruction);
  because(found.explanation);
  stand(found, described);
}

function because(found) {
  find("because").hidden = !found;
  if (!found) return;
  find("because-title").textContent = `Why ${plain(found.class)} rather than ${plain(found.rather_than)}`;
  for (const side of ["for", "against"]) {
    const items = found[side].map((one) => make("li", { textContent: attributeName(one.attribute) }));
    find(side).replaceChildren(...(items.length ? items : [make("li", { className: "none", textContent: "nothing" })]));
  }
}

function stand(found, described) {
  const place = find("standing");
  if (!state.editor) return;
  if (!draft()) place.textContent = capital(`${[...(state.known.can_describe ? ["say what it looks like"] : []), ...(state.known.attributes.length ? ["move a slider or start from a class"] : [])].join(", ")}.`);
  else if (!state.picture) place.textContent = "Choose a picture to see how this class ranks.";
  else if (!found || !described) return;  // the answer is on its way
  else if (!found.extra.length) place.textContent = "New classes are unseen; they are not among these.";
  else {
    const { rank, probability } = found.extra[0], best = found.answers[0];
    const others = rank > 1 ? `; first is ${plain(best.class)}, ${percent(best.probability)}` : "";
    place.textContent = `“${plain(described.name)}” comes ${rank === 1 ? "first" : `as number ${rank}`} of ${count(found.n_classes, "class")}, with ${percent(probability)}${others}.`;
  }
}
find("only").addEventListener("change", ask);

// -- a new class ----------------------------------------------------------------------------------------------------
find("like").addEventListener("change", async (event) => {
  const wanted = event.target.value;
  try {
    const one = wanted ? await oneClass(wanted) : null;
    if (event.target.value !== wanted) return;  // chosen anew meanwhile
    state.like = wanted;
    state.editor.startFrom(one?.attributes);
    complain("save-problem", null);
  } catch (error) { complain("save-problem", error); }
  stand(null);
  ask();
});
find("filter").addEventListener("input", (event) => state.editor?.filter(event.target.value));
find("name").addEventListener("input", () => { complain("save-problem", null); if (draft()) askSoon(true); });
find("words").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); find("editor").requestSubmit(); } });
find("reset").addEventListener("click", () => { clear(); find("name").focus(); ask(); });
find("editor").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (document.activeElement === find("filter")) return;  // Enter there finds, and saves nothing
  const name = find("name").value.trim();
  find("save").disabled = state.saving = true;
  clearTimeout(state.timer);
  state.asking?.abort();
  let news = "";
  try {
    if (!name) { find("name").focus(); throw new Error("name must be given; got none"); }
    await addClass({ name, ...state.editor.described(state.like) }, find("key").value);
    clear();
    await refresh();
    news = `“${name}” is saved, one of ${count(state.known.classes.length, "class")} now.`;
  } catch (error) { complain("save-problem", error); }
  find("save").disabled = state.saving = false;
  await ask();
  if (news) find("standing").textContent = news;
});

function clear() {
  find("name").value = find("words").value = "";
  find("like").value = state.like = "";
  find("filter").value = "";
  state.editor.filter("");
  state.editor.startFrom(null);
  complain("save-problem", null);
}

// -- added classes --------------------------------------------------------------------------------------------------
function listAdded() {
  const added = state.known.classes.filter((one) => one.added);
  find("none-added").hidden = added.length > 0;
  find("kept").replaceChildren(...added.map((one) => {
    const button = make("button", { type: "button", textContent: "Delete" });
    button.setAttribute("aria-label", `Delete ${one.name}`);
    button.addEventListener("click", () => remove(one.name));
    return make("li", {}, make("span", { textContent: one.name }), button);
  }));
}

async function remove(name) {
  try {
    const gone = await deleteClass(name, find("key").value);
    const back = make("button", { type: "button", textContent: "Undo" });
    back.addEventListener("click", async () => {
      try { await addClass({ name, ...(gone.vector ? { vector: gone.vector } : { attributes: gone.attributes }) }, find("key").value); find("undo").textContent = `“${name}” is back.`; } catch (error) { find("undo").textContent = sentence(error); }
      await refresh();
      ask();
    });
    find("undo").replaceChildren(`“${name}” is deleted. `, back);
    if (state.like === name) { clear(); }
    await refresh();
    (find("kept").querySelector("button") ?? back).focus();
    ask();
  } catch (error) { find("undo").textContent = sentence(error); }
}

// -- what the server knows ------------------------------------------------------------------------------------------
async function refresh() {
  state.known = await classes();
  const { classes: all, attributes, width, needs_key, can_describe, can_draw } = state.known;
  const n = (test) => all.filter(test).length;
  const seen = n((one) => one.seen), added = n((one) => one.added), unseen = all.length - seen;
  find("about").textContent = `${count(all.length, "class")}: ${seen.toLocaleString("en")} learned from pictures, ${unseen.toLocaleString("en")} known only from a description${added ? `, ${added} of them added here` : ""}.`;
  find("key-field").hidden = !needs_key;
  if (can_draw) find("keeps").textContent = "Of the last pictures, the server remembers small copies until it ends.";
  state.imagination?.forget();
  const chosen = find("like").value;
  const options = all.map((one) => make("option", { value: one.name, textContent: plain(one.name) }));
  options.sort((a, b) => a.textContent.localeCompare(b.textContent));
  find("like").replaceChildren(make("option", { value: "", textContent: "the average of all classes" }), ...options);
  find("like").value = chosen;
  if (!attributes.length && !can_describe) {
    find("no-attributes").hidden = false;
    find("no-attributes").textContent = `This model describes classes by ${count(width, "number", "numbers")} without names, which sliders cannot show; add classes through the API.`;
  } else if (!state.editor) {
    state.editor = new Editor(attributes, (isTyping) => { stand(null); askSoon(isTyping); });
    find("words-field").hidden = !can_describe;
    if (can_describe) find("how").textContent = attributes.length ? "Say what it looks like, move the sliders," : "Say what it looks like,";
    if (can_draw) {
      state.imagination = new Imagination((error) => complain("imagined-problem", error));
      find("and-imagined").hidden = false;
    }
    if (attributes.length) find("filter").placeholder = attributeName(attributes[0].name).replace(":", "");
    find("editor").hidden = false;
    stand(null);
  }
  listAdded();
}

try { await refresh(); if (state.picture) ask(); } catch (error) { find("about").textContent = ""; complain("problem", error); }
