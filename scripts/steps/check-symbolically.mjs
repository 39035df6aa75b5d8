// Runs halmos over contracts/symbolic: first on the contracts as they are, where every check must hold, then for each check on a
// copy with the bug that contracts/symbolic/bugs.json names for it, where it must find a counterexample.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const contracts = path.join(root, "contracts");
const venv = path.join(root, "target/assurance-venv/bin");
const work = path.join(root, "target/symbolic");
const json = (file) => JSON.parse(fs.readFileSync(path.join(contracts, file), "utf8"));

/** Compiles what is in `folder` and runs the checks whose name matches; each check's verdict: PASS, FAIL (counterexample) or ERROR. */
function halmos(folder, match, ...more) {
  const env = {
    ...process.env,
    NO_COLOR: "1",
    FOUNDRY_PROFILE: "symbolic",
    FOUNDRY_OUT: path.join(folder, "out-symbolic"),
    FOUNDRY_CACHE_PATH: path.join(folder, "cache-symbolic"),
    PATH: `${venv}:${path.join(contracts, "node_modules/.bin")}:${process.env.PATH}`,
  };
  const options = ["--root", folder, "--forge-build-out", "out-symbolic", "--match-test", match, "--loop", "8", "--storage-layout",
    "generic", "--no-status", "--solver-timeout-assertion", "300000", ...more];
  const run = spawnSync("python3", [path.join(root, "scripts/steps/run-halmos.py"), ...options], { cwd: folder, env, encoding: "utf8" });
  const text = `${run.stdout}${run.stderr}`.replaceAll(/\x1b\[[0-9;]*m/g, "");
  const verdicts = new Map([...text.matchAll(/^\s*\[(\w+)\] (check_\w+)\(/gm)].map(([, verdict, name]) => [name, verdict]));
  if (verdicts.size === 0 || /unrolling bound|not been fully explored/.test(text)) throw new Error(`halmos did not run:\n${text.slice(-4000)}`);
  return verdicts;
}

/** A copy of the contracts that may be changed, with the named checks alone. */
function copy(name, files) {
  const folder = path.join(work, name);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (const part of ["src", "reference", "tools", "foundry.toml", ...files.map((file) => `symbolic/${file}`)]) {
    fs.cpSync(path.join(contracts, part), path.join(folder, part), { recursive: true });
  }
  fs.symlinkSync(path.join(contracts, "node_modules"), path.join(folder, "node_modules"));
  return folder;
}

function plant(folder, bug) {
  const list = json(`mutations/${bug.split("/")[0]}.json`);
  const mutation = list.mutations.find((m) => m.id === bug.split("/")[1]);
  if (!mutation) throw new Error(`no such bug: ${bug}`);
  const file = path.join(folder, list.file);
  const source = fs.readFileSync(file, "utf8");
  if (source.split(mutation.find).length !== 2) throw new Error(`cannot be planted: ${bug}`);
  fs.writeFileSync(file, source.replace(mutation.find, () => mutation.replace));
}

const only = process.argv[2] === "--only" ? process.argv[3] : "";
/** Every check, to the file it stands in. */
const declared = new Map();
const files = fs.readdirSync(path.join(contracts, "symbolic")).filter((name) => name.endsWith(".sol"));
for (const file of files) {
  const text = fs.readFileSync(path.join(contracts, "symbolic", file), "utf8");
  for (const [, check] of text.matchAll(/function (check_\w+)\(/g)) if (check.includes(only)) declared.set(check, file);
}
const bugs = json("symbolic/bugs.json");
let passed = 0;
let failed = 0;
const say = (good, text) => {
  if (good) passed += 1;
  else failed += 1;
  console.log(`${good ? "ok    " : "FAILED"}  ${text}`);
};

const held = halmos(copy("sound", [...new Set(declared.values())]), `^check_.*${only}`);
for (const check of declared.keys()) say(held.get(check) === "PASS", `holds: ${check}`);
for (const [check, file] of declared) {
  if (!bugs[check]) {
    say(false, `no bug is named for ${check}`);
    continue;
  }
  const folder = copy("planted", [file]);
  plant(folder, bugs[check]);
  const verdict = halmos(folder, `^${check}\\(`, "--early-exit").get(check);
  say(verdict === "FAIL", `finds ${bugs[check]}: ${check}`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
