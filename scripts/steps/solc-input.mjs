// solc-input.mjs: prints the compiler's JSON input for the contracts of contracts/src and all they import, for tools that read
// syntax trees and need no bytecode. Paths are relative to contracts/.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const contracts = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../contracts");
const remappings = { "@openzeppelin/": "node_modules/@openzeppelin/", "solady/": "node_modules/solady/src/" };

const sources = {};
function add(file) {
  if (sources[file]) return;
  const content = fs.readFileSync(path.join(contracts, file), "utf8");
  sources[file] = { content };
  for (const [, target] of content.matchAll(/^(?:import|\})[^;"]*"([^"]+)";/gm)) {
    const prefix = Object.keys(remappings).find((p) => target.startsWith(p));
    if (prefix) add(remappings[prefix] + target.slice(prefix.length));
    else add(path.normalize(path.join(path.dirname(file), target)));
  }
}
for (const name of fs.readdirSync(path.join(contracts, "src"))) if (name.endsWith(".sol")) add(`src/${name}`);

const settings = {
  remappings: Object.entries(remappings).map(([from, to]) => `${from}=${to}`),
  evmVersion: "cancun",
  viaIR: true,
  optimizer: { enabled: false },
  outputSelection: { "*": { "*": ["abi", "metadata", "devdoc", "userdoc"], "": ["ast"] } },
};
console.log(JSON.stringify({ language: "Solidity", sources, settings }));
