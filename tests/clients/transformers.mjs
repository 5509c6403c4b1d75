// What transformers.js sees: node transformers.mjs MODULE HUB_URL CACHE_DIR TEXT.
import { pathToFileURL } from "node:url";

const [modulePath, hubUrl, cacheDir, text] = process.argv.slice(2);
const { AutoConfig, AutoTokenizer, env } = await import(pathToFileURL(modulePath));
env.remoteHost = `${hubUrl}/`;
env.cacheDir = cacheDir;
env.allowLocalModels = false;

const tokenizer = await AutoTokenizer.from_pretrained("acme/minilm");
const config = await AutoConfig.from_pretrained("acme/minilm", { revision: "dev" });
const answer = { ids: tokenizer.encode(text), hidden: config.hidden_size };
console.log(JSON.stringify(answer));
