// What @huggingface/hub sees: node hub.mjs MODULE HUB_URL CACHE_DIR; JSON on stdout.
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";

const [modulePath, hubUrl, cacheDir] = process.argv.slice(2);
const hub = await import(pathToFileURL(modulePath));
const repo = { type: "model", name: "acme/minilm" };
const dataset = { type: "dataset", name: "acme/vega" };

async function collect(generator) {
  const found = [];
  for await (const one of generator) found.push(one);
  return found;
}

async function nameOf(call) {
  try {
    return await call();
  } catch (error) {
    return `${error.statusCode} ${error.message}`;
  }
}

const download = (path, more = {}) => hub.downloadFile({ repo, path, hubUrl, ...more });
const text = async (path, more) => (await download(path, more)).text();

async function sha256(path) {
  const hash = createHash("sha256");
  for await (const chunk of (await download(path)).stream()) hash.update(chunk);
  return hash.digest("hex");
}

const additionalFields = ["sha", "tags", "library_name"];
const info = await hub.modelInfo({ name: repo.name, hubUrl, additionalFields });
const empty = await download("empty.txt");
const exists = (path) => hub.fileExists({ repo, path, hubUrl });
const asked = ["config.json", "model.safetensors", "1_Pooling", "nothing"];

const answer = {
  info: { name: info.name, sha: info.sha, library: info.library_name },
  files: await collect(hub.listFiles({ repo, recursive: true, hubUrl })),
  top: (await collect(hub.listFiles({ repo, hubUrl }))).map((one) => one.path),
  dataset: (await collect(hub.listFiles({ repo: dataset, recursive: true, hubUrl })))
    .filter((one) => one.type === "file")
    .map((one) => one.path),
  config: await text("config.json"),
  dev: await text("README.md", { revision: "dev" }),
  // The client does not encode paths: a plain "#" would start a fragment.
  odd: await text("sub dir/a b%231.txt"),
  pointer: await nameOf(() => text("model.safetensors", { raw: true })),
  weights: await sha256("model.safetensors"),
  part: await (await download("model.safetensors")).slice(1000, 1016).arrayBuffer()
    .then((bytes) => Buffer.from(bytes).toString("hex")),
  empty: empty && [empty.size, await empty.text()],
  absent: await download("nothing"),
  exists: [await exists("config.json"), await exists("empty.txt"), await exists("no")],
  models: (await collect(hub.listModels({ search: { owner: "acme" }, hubUrl })))
    .map((one) => one.name),
  tagged: (await collect(hub.listModels({ search: { tags: ["tiny"] }, hubUrl })))
    .map((one) => one.name),
  paths: await hub.pathsInfo({ repo, paths: asked, hubUrl }),
  noRepo: await nameOf(() => hub.modelInfo({ name: "acme/nothing", hubUrl })),
  snapshot: await hub.snapshotDownload({ repo: dataset, cacheDir, hubUrl }),
};
console.log(JSON.stringify(answer));
