// What transformers.js sees: node transformers.mjs MODULE HUB_URL CACHE_DIR TEXT.
import { pathToFileURL } from "node:url";

const [modulePath, hubUrl, cacheDir, text] = process.argv.slice(2);
const transformers = await import(pathToFileURL(modulePath));
const { AutoConfig, AutoModel, AutoTokenizer, Tensor, env } = transformers;
env.remoteHost = `${hubUrl}/`;
env.cacheDir = cacheDir;
env.allowLocalModels = false;

const tokenizer = await AutoTokenizer.from_pretrained("acme/minilm");
const config = await AutoConfig.from_pretrained("acme/minilm", { revision: "dev" });
const model = await AutoModel.from_pretrained("acme/small", { dtype: "fp32" });
const input_ids = new Tensor("int64", [3n, 0n, 4n], [1, 3]);
const { last_hidden_state } = await model({ input_ids });
const answer = {
  ids: tokenizer.encode(text),
  hidden: config.hidden_size,
  shape: last_hidden_state.dims,
  found: Array.from(last_hidden_state.data),
};
console.log(JSON.stringify(answer));
