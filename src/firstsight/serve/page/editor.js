// What a new class is: words, and a slider for each attribute, in groups, from an existing class or from the average.

export const plain = (name) => name.replace(/^\d+\./, "").replaceAll("_", " ");
export const attributeName = (name) => plain(name.replace(/^has_/, "").replace("::", ": "));
const find = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...inside) => { const one = Object.assign(document.createElement(tag), properties); one.append(...inside); return one; };

export class Editor {
  constructor(attributes, changed) {
    this.attributes = attributes;
    this.changed = changed;
    this.start = new Map(attributes.map((one) => [one.name, one.mean]));  // values of the class it starts from
    this.touched = new Map();  // values that were set since
    this.rows = new Map();
    this.groups = [];
    find("words").addEventListener("input", () => changed(true));
    for (const one of document.querySelectorAll(".of-sliders")) one.hidden = attributes.length === 0;
    if (attributes.length) this.build();
    this.show();
  }

  build() {
    const named = new Map();
    for (const one of this.attributes) {
      const [group, value] = one.name.includes("::") ? one.name.split("::", 2) : ["", one.name];
      if (!named.has(group)) named.set(group, []);
      named.get(group).push({ ...one, label: plain(value), group });
    }
    const only = named.size === 1;
    for (const [name, members] of named) this.groups.push(this.group(name, members, only));
    if (!this.groups[0].isPlain) this.groups[0].box.open = true;
    find("groups").replaceChildren(...this.groups.map((group) => group.box));
  }

  group(name, members, only) {
    const rows = make("div", { className: "rows" }, ...members.map((one) => this.row(one, members)));
    const isPlain = name === "" || only;
    const box = make(isPlain ? "div" : "details", { className: isPlain ? "plain-group" : "" });
    const group = { name, members, box, isPlain, wasOpen: false };
    if (!isPlain) {
      group.most = make("span");
      group.count = make("span", { className: "changed" });
      box.append(make("summary", {}, make("b", { textContent: attributeName(name) }), group.most, group.count));
    }
    box.append(rows);
    return group;
  }

  row(one, members) {
    const id = `slider-${this.rows.size}`;
    const label = make("label", { htmlFor: id, textContent: one.label });
    const slider = make("input", { type: "range", id, min: 0, max: 100, step: 1, disabled: one.high <= one.low });
    const number = make("output", { htmlFor: id });
    const box = make("div", { className: "row" }, label, slider, number);
    slider.setAttribute("aria-label", attributeName(one.name));
    slider.addEventListener("input", () => this.set([[one, Number(slider.value)]]));
    if (members.length > 1 && one.group) {
      const solo = make("button", { type: "button", className: "solo", textContent: "only" });
      solo.setAttribute("aria-label", `only ${attributeName(one.name)}`);
      solo.addEventListener("click", () => this.set(members.map((other) => [other, other === one ? 100 : 0])));
      box.append(solo);
    }
    this.rows.set(one.name, { box, slider, number, one });
    return box;
  }

  set(pairs) {
    for (const [one, percent] of pairs) this.touched.set(one.name, one.low + ((one.high - one.low) * percent) / 100);
    this.show();
    this.changed(false);
  }

  startFrom(values) {
    this.start = new Map(this.attributes.map((one) => [one.name, values ? values[one.name] : one.mean]));
    this.touched.clear();
    this.show();
  }

  percent(one) {
    const value = this.touched.get(one.name) ?? this.start.get(one.name);
    const share = one.high > one.low ? (value - one.low) / (one.high - one.low) : 0;
    return Math.round(100 * Math.min(1, Math.max(0, share)));
  }

  show() {
    for (const { box, slider, number, one } of this.rows.values()) {
      const percent = this.percent(one);
      slider.value = percent;
      number.textContent = percent;
      box.classList.toggle("touched", this.touched.has(one.name));
    }
    for (const group of this.groups.filter((each) => !each.isPlain)) {
      const [first, second] = group.members.map((one) => ({ label: one.label, percent: this.percent(one) })).sort((a, b) => b.percent - a.percent);
      const stands = first.percent > 50 && (!second || first.percent - second.percent >= 25);
      group.most.textContent = stands ? first.label : "mixed";
      const n = group.members.filter((one) => this.touched.has(one.name)).length;
      group.count.textContent = n ? `${n} changed` : "";
    }
  }

  filter(text) {
    const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const wasFiltered = this.isFiltered;
    this.isFiltered = words.length > 0;
    let found = 0;
    for (const group of this.groups) {
      if (this.isFiltered && !wasFiltered) group.wasOpen = group.box.open;
      let inside = 0;
      for (const one of group.members) {
        const name = attributeName(one.name).toLowerCase();
        const fits = words.every((word) => name.includes(word));
        this.rows.get(one.name).box.hidden = !fits;
        inside += fits;
      }
      group.box.hidden = inside === 0;
      if (!group.isPlain) group.box.open = this.isFiltered ? inside > 0 : wasFiltered ? group.wasOpen : group.box.open;
      found += inside;
    }
    find("no-match").hidden = found > 0 || !this.groups.length;
  }

  // Each line that says something is a description of its own.
  get lines() { return find("words").value.split("\n").map((line) => line.trim()).filter(Boolean); }

  get isTouched() { return this.touched.size > 0 || this.lines.length > 0; }

  // As the server takes it: without any attributes where words alone describe it.
  described(like) {
    const lines = this.lines, found = {};
    if (lines.length) found.description = lines.length === 1 ? lines[0] : lines;
    if (this.attributes.length && (this.touched.size || !lines.length)) found.attributes = Object.fromEntries(this.touched);
    return like ? { ...found, like } : found;
  }
}
