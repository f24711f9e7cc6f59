// What the model draws: what it keeps of the picture, and how it imagines the class that is described.
import { imagine } from "./api.js";
import { plain } from "./editor.js";

const find = (id) => document.getElementById(id);

// Beside the picture, in the picture's own proportions, as the model sees all pictures as squares; null takes it away.
export function showReconstruction(drawn) {
  const { naturalWidth: width, naturalHeight: height } = find("shown");
  find("views").style.setProperty("--proportion", width && height ? width / height : 1);
  find("views").classList.toggle("two", drawn !== null);
  find("reconstructed").hidden = find("shown-name").hidden = !drawn;
  if (drawn) find("reconstruction").src = drawn.image;
}

// The class that a description starts from, and beside it the one it becomes. The last description wins.
export class Imagination {
  constructor(failed) {
    this.failed = failed;
    this.asking = null;
    this.wanted = this.start = undefined;  // what is shown, or will be
  }

  async show(described) {
    const { like = "", attributes = {}, description } = described ?? {};
    const wanted = described && JSON.stringify(description ? described : [like, attributes]);  // with words, the name is read
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.asking?.abort();
    find("imagined").hidden = !described;
    this.failed(null);
    if (!described) return;
    const { signal } = this.asking = new AbortController();
    find("imagined").setAttribute("aria-busy", "true");
    try {
      const isEdited = Object.keys(attributes).length > 0 || Boolean(description);
      const hasStart = like !== "" || !description, isNew = hasStart && like !== this.start;
      const [start, now] = await Promise.all([
        isNew ? imagine(like ? { name: like } : { attributes: {} }, signal) : null,
        isEdited ? imagine(description ? described : { attributes, ...(like ? { like } : {}) }, signal) : null,
      ]);
      if (start) this.put("start", start, like ? plain(like) : "the average");
      if (hasStart) this.start = like;
      find("imagined-start").hidden = !hasStart;
      if (now) this.put("now", now, description ? "in words" : "edited");
      find("imagined-now").hidden = !isEdited;
    } catch (error) {
      if (error.name === "AbortError") return;
      find("imagined").hidden = true;
      this.forget();
      this.failed(error);
    }
    if (!signal.aborted) find("imagined").setAttribute("aria-busy", "false");
  }

  put(which, found, name) {
    const [picture, caption] = find(`imagined-${which}`).children;
    picture.src = found.imagined.image;
    picture.alt = `How the model imagines ${which === "now" ? "the class that you describe" : name}`;
    caption.textContent = caption.title = name;
  }

  // Classes have changed, and what was drawn of them may have.
  forget() { this.wanted = this.start = undefined; }
}
