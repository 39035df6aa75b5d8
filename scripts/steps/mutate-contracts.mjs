// Mutation of the contracts. A planted bug is compiled into the bytecode of the contracts that contain it and put where the
// tests find their contracts (foundry.toml links tests by name); nothing else is compiled again. First the contracts go the
// same way without a bug, and all tests must pass on them.
import { spawn, fork } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const contracts = path.resolve(here, "../../contracts");
const work = path.resolve(here, "../../target/mutations");
const workers = Number(process.env.MUTATION_WORKERS ?? 2);
const names = [
  "BatteryLedger", "ChargingAuthVerifier", "DeviceRegistry", "GatewayRegistry", "PolicyRegistry", "Sha3", "StatementOpener",
];

const read = (file) => fs.readFileSync(path.join(contracts, file), "utf8");

/** Every mutation of contracts/mutations/*.json, with the file and the tests that its list names. */
function mutations() {
  const all = [];
  const folder = path.join(contracts, "mutations");
  for (const name of fs.readdirSync(folder).filter((n) => n.endsWith(".json")).sort()) {
    const { file, tests, mutations } = JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
    for (const m of mutations) all.push({ file, tests, ...m, id: `${path.basename(name, ".json")}/${m.id}` });
  }
  const ids = new Set(all.map((m) => m.id));
  if (ids.size !== all.length) throw new Error("two mutations have the same id");
  return all;
}

// ---- The compiler, without the optimizer's steps: what a bug does is the same, and it takes a third of the time.

const settings = {
  evmVersion: "cancun",
  viaIR: true,
  metadata: { bytecodeHash: "none", appendCBOR: false },
  optimizer: {
    enabled: true,
    runs: 1,
    details: {
      peephole: false, inliner: false, jumpdestRemover: false, orderLiterals: false, deduplicate: false, cse: false,
      constantOptimizer: false, yul: true, yulDetails: { stackAllocation: true, optimizerSteps: "u:" },
    },
  },
};
const remappings = { "@openzeppelin/": "node_modules/@openzeppelin/", "solady/": "node_modules/solady/src/" };
const located = (name) => {
  const prefix = Object.keys(remappings).find((p) => name.startsWith(p));
  return prefix ? remappings[prefix] + name.slice(prefix.length) : name;
};

/** Files of src/ that a file imports, itself included. */
function closure(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, target] of read(file).matchAll(/from "(\.[^"]+)"/g)) closure(path.join(path.dirname(file), target), found);
  return found;
}

let solc;
/** Creation bytecode of a contract; `changed` is the text of one file that differs from the disk. */
function bytecode(name, changed = {}) {
  solc ??= createRequire(path.join(contracts, "package.json"))("solc");
  const file = `src/${name}.sol`;
  const input = {
    language: "Solidity",
    sources: { [file]: { content: changed[file] ?? read(file) } },
    settings: {
      ...settings,
      remappings: Object.entries(remappings).map(([from, to]) => `${from}=${to}`),
      outputSelection: { [file]: { [name]: ["evm.bytecode.object"] } },
    },
  };
  const lookup = (wanted) => ({ contents: changed[located(wanted)] ?? read(located(wanted)) });
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: lookup }));
  const errors = (output.errors ?? []).filter((e) => e.severity === "error");
  if (errors.length > 0) throw new Error(errors.map((e) => e.formattedMessage).join("\n"));
  return `0x${output.contracts[file][name].evm.bytecode.object}`;
}

// ---- A worker: its own copy of forge's output, in which bytecode is exchanged.

const artifactOf = (base, name) => path.join(base, "out", `${name}.sol`, `${name}.json`);

function prepare(base) {
  fs.rmSync(base, { recursive: true, force: true });
  fs.cpSync(path.join(contracts, "out"), path.join(base, "out"), { recursive: true, preserveTimestamps: true });
  const cache = JSON.parse(fs.readFileSync(path.join(contracts, "cache/solidity-files-cache.json"), "utf8"));
  cache.paths.artifacts = path.join(base, "out");
  cache.paths.build_infos = path.join(base, "out/build-info");
  fs.mkdirSync(path.join(base, "cache"));
  fs.writeFileSync(path.join(base, "cache/solidity-files-cache.json"), JSON.stringify(cache));
}

function put(base, name, code) {
  const file = artifactOf(base, name);
  const artifact = JSON.parse(fs.readFileSync(file, "utf8"));
  const before = artifact.bytecode.object;
  artifact.bytecode.object = code;
  fs.writeFileSync(file, JSON.stringify(artifact));
  return before;
}

/** Runs the quick tests; the names of the failed ones, none if all passed. */
async function forgeTest(base, selection) {
  fs.rmSync(path.join(base, "failures"), { recursive: true, force: true });
  const env = {
    ...process.env,
    NO_COLOR: "1",
    FOUNDRY_PROFILE: "default",
    FOUNDRY_OUT: path.join(base, "out"),
    FOUNDRY_CACHE_PATH: path.join(base, "cache"),
    FOUNDRY_SOLC: path.join(contracts, "tools/solc-memo"),
    FOUNDRY_FUZZ_FAILURE_PERSIST_DIR: path.join(base, "failures"),
    FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR: path.join(base, "failures"),
    SOLC_MEMO: path.join(work, "memo"),
  };
  const child = spawn("node_modules/.bin/forge", ["test", "--fail-fast", ...selection], { cwd: contracts, env });
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  child.stderr.on("data", (chunk) => (text += chunk));
  const code = await new Promise((resolve) => child.on("close", resolve));
  // An invariant's name follows the calls that broke it.
  const failed = [...text.matchAll(/^(?:\[FAIL[^\n]*\]\s+| )(\w+)\((?=[^\n]*\((?:runs|gas):)/gm)].map((m) => m[1]);
  const ran = /^Ran \d+ test suites? /m.test(text);
  if ((code === 0) !== (failed.length === 0) || !ran) throw new Error(`forge test did not run:\n${text.slice(-3000)}`);
  return [...new Set(failed)];
}

const whole = ["--no-match-contract", "Gas"];

/** What became of a planted bug: { caught: test } or { failed: why }. */
async function plant(base, mutation) {
  const source = read(mutation.file);
  const places = source.split(mutation.find).length - 1;
  if (places !== 1) return { failed: `its text stands ${places} times in ${mutation.file}` };
  const changed = { [mutation.file]: source.replace(mutation.find, () => mutation.replace) };
  const restore = [];
  try {
    for (const name of names.filter((n) => closure(`src/${n}.sol`).has(mutation.file))) {
      const code = bytecode(name, changed);
      const before = put(base, name, code);
      if (before !== code) restore.push([name, before]);
    }
    if (restore.length === 0) return { failed: "the bytecode did not change" };
    let failed = await forgeTest(base, ["--match-contract", `^(${mutation.tests})$`]);
    if (failed.length === 0) failed = await forgeTest(base, whole);
    return failed.length > 0 ? { caught: failed[0] } : { failed: "SURVIVED: all tests passed" };
  } catch (error) {
    return { failed: String(error.message ?? error) };
  } finally {
    for (const [name, before] of restore) put(base, name, before);
  }
}

async function workOff(base) {
  process.on("message", async (mutation) => {
    if (mutation === null) process.exit(0);
    process.send({ mutation, result: await plant(base, mutation) });
  });
  process.send({});
}

// ---- The run.

async function control(bases) {
  for (const name of names) {
    const code = bytecode(name);
    for (const base of bases) put(base, name, code);
  }
  const failed = await forgeTest(bases[0], whole);
  if (failed.length > 0) throw new Error(`control: fails without a bug: ${failed.join(", ")}`);
}

async function main() {
  const only = process.argv[2] === "--only" ? process.argv[3].split(",") : [""];
  const queue = mutations().filter((m) => only.some((text) => m.id.includes(text)));
  if (process.argv[2] === "--list") {
    for (const m of queue) console.log(`${m.id}\n    ${m.bug}`);
    return 0;
  }
  const bases = Array.from({ length: Math.min(workers, queue.length) }, (_, i) => path.join(work, `worker-${i}`));
  bases.forEach(prepare);
  await control(bases);
  console.log("control: without a bug all tests pass");

  const total = queue.length;
  let caught = 0;
  const survivors = [];
  await Promise.all(bases.map((base) => new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ["--worker", base]);
    child.on("error", reject);
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
    child.on("message", ({ mutation, result }) => {
      if (result?.caught) {
        caught += 1;
        console.log(`caught    ${mutation.id}  by ${result.caught}`);
      } else if (result) {
        survivors.push(mutation.id);
        console.log(`FAILED    ${mutation.id}  ${result.failed}`);
      }
      child.send(queue.shift() ?? null);
    });
  })));
  for (const id of survivors) console.log(`not caught: ${id}`);
  console.log(`${caught} passed, ${total - caught} failed`);
  return caught === total && total > 0 ? 0 : 1;
}

if (process.argv[2] === "--worker") await workOff(process.argv[3]);
else process.exitCode = await main();
