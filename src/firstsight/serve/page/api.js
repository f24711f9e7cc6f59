// Questions to the server: the sentence of whatever goes wrong becomes an error's message.

export class Problem extends Error {
  constructor(sentence, status) { super(sentence); this.status = status; }
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function ask(path, options = {}, tries = 3) {
  let answer;
  try { answer = await fetch(path, options); } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server must answer; got nothing from it. Is it still running?", 0);
  }
  if (answer.status === 503 && tries > 0) {  // it has much to do
    await pause(1000 * Number(answer.headers.get("retry-after") || 1));
    return ask(path, options, tries - 1);
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(found.detail || `The server must answer in a way this page knows; got ${answer.status}.`, answer.status);
  return found;
}

const json = (body, more = {}) => ({ method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...more } });
const proof = (key) => (key ? { authorization: `Bearer ${key}` } : {});
const place = (name) => `/v1/classes/${encodeURIComponent(name)}`;

export const classes = () => ask("/v1/classes");
export const oneClass = (name) => ask(place(name));
export const imagine = (described, signal) => ask("/v1/imagine", { ...json(described), signal });
export const addClass = (described, key) => ask("/v1/classes", json(described, proof(key)));
export const deleteClass = (name, key) => ask(place(name), { method: "DELETE", headers: proof(key) });

// The picture is sent once; later questions give its key, as long as the server remembers it.
export async function predict(picture, options, signal) {
  if (picture.key) {
    try { return await ask("/v1/predict", { ...json({ ...options, picture: picture.key }), signal }); } catch (error) {
      if (error.status !== 404 || !error.message.startsWith("picture ")) throw error;
      picture.key = null;
    }
  }
  const form = new FormData();
  form.append("file", picture.file, "picture");
  for (const [name, value] of Object.entries(options)) form.append(name, typeof value === "object" ? JSON.stringify(value) : value);
  const found = await ask("/v1/predict", { method: "POST", body: form, signal });
  picture.key = found.picture;
  return found;
}
