// A local Conflux chain: up, down, kill, status. See `scripts/devnet --help`.
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { CHAIN_ID, CORE_CHAIN_ID, nodeConfig, olderNodeConfig } from "./node-config.mjs";

const NODES = ["v3.0", "v2.4"];
const HERE = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      dir: { type: "string", default: path.join(HERE, "../../target/devnet") },
      from: { type: "string" },
      node: { type: "string" },
      "owner-pid": { type: "string" },
      port: { type: "string", default: "8545" },
      "ws-port": { type: "string" },
      "native-port": { type: "string", default: "0" },
      "p2p-port": { type: "string", default: "0" },
      peers: { type: "boolean", default: false },
      bootnode: { type: "string" },
      follower: { type: "boolean", default: false },
      "block-interval-ms": { type: "string", default: process.env.DEVNET_BLOCK_INTERVAL_MS ?? "200" },
      "start-timeout-s": { type: "string", default: process.env.DEVNET_START_TIMEOUT_S ?? "90" },
      "stop-timeout-s": { type: "string", default: "20" },
    },
  });
  const commands = { up, down, kill, status };
  const command = commands[positionals[0]];
  if (!command || positionals.length !== 1) fail(`unknown command '${positionals.join(" ")}': up, down, kill or status`);
  await command({ ...values, dir: path.resolve(values.dir) });
}

async function up(options) {
  const { dir } = options;
  const running = runningNode(dir);
  if (running) {
    console.log(`devnet already runs: ${running.rpc_url} (pid ${running.pid})`);
    return;
  }
  if (options.from) copyChain(path.resolve(options.from), dir);
  fs.mkdirSync(dir, { recursive: true });

  const blockIntervalMs = options.follower ? null : wholeNumber("--block-interval-ms", options["block-interval-ms"], 20, 60_000);
  if (options.follower && !options.bootnode) fail("--follower mines nothing: it needs --bootnode");
  const timeoutS = wholeNumber("--start-timeout-s", options["start-timeout-s"], 1, 3_600);
  const owner = options["owner-pid"] ? [String(wholeNumber("--owner-pid", options["owner-pid"], 1, 2 ** 22))] : [];
  const previous = readState(dir);
  const version = options.node ?? previous?.node ?? "v3.0";
  if (!NODES.includes(version)) fail(`--node ${version}: it is one of ${NODES.join(", ")}`);
  const older = version === "v2.4";
  if (older && (options.peers || options.bootnode)) fail("--node v2.4 stands alone: it takes neither --peers nor --bootnode");
  const ports = await choosePorts(options, previous);
  const peer = options.peers || options.bootnode ? peerIdentity(previous?.net_key, ports.p2p) : {};
  const accounts = JSON.parse(fs.readFileSync(path.join(HERE, "accounts.json"), "utf8"));

  // The node refuses a blank line, so none ends the file.
  fs.writeFileSync(path.join(dir, "genesis_evm_secrets.txt"), accounts.map((a) => a.key.slice(2)).join("\n"));
  const configFile = path.join(dir, older ? "conflux.json" : "conflux.toml");
  const config = older
    ? olderNodeConfig({ dir, ports, blockIntervalMs, secrets: accounts.map((a) => a.key.slice(2)) })
    : nodeConfig({ dir, ports, blockIntervalMs, netKey: peer.net_key, bootnode: options.bootnode });
  fs.writeFileSync(configFile, config);

  // The node keeps 150 MB for its proof-of-stake part in a temporary folder and never removes it.
  const scratch = path.join(dir, "scratch");
  fs.rmSync(scratch, { recursive: true, force: true });
  fs.mkdirSync(scratch);

  const logFile = path.join(dir, "node.log");
  const log = fs.openSync(logFile, "a");
  const child = spawn(process.execPath, [path.join(HERE, older ? "v2.4" : "", "run-node.mjs"), configFile, ...owner], {
    cwd: dir,
    env: { ...process.env, TMPDIR: scratch },
    detached: true,
    stdio: ["ignore", log, log],
  });
  let exit = null;
  child.on("exit", (code, signal) => (exit = signal ?? `code ${code}`));
  const state = {
    rpc_url: `http://127.0.0.1:${ports.rpc}`,
    ws_url: `ws://127.0.0.1:${ports.ws}`,
    native_rpc_url: `http://127.0.0.1:${ports.native}`,
    chain_id: CHAIN_ID,
    node: version,
    pid: child.pid,
    block_interval_ms: blockIntervalMs,
    dir,
    ports,
    ...peer,
    accounts,
  };

  const giveUp = () => {
    process.kill(child.pid, "SIGKILL");
    fail("interrupted while starting");
  };
  process.once("SIGINT", giveUp).once("SIGTERM", giveUp);

  // "RPC up" comes seconds before blocks are executed, and only then do calls and fees work: the head must have moved.
  const started = Date.now();
  const waitUntil = async (what, reached) => {
    while (!(await reached())) {
      if (exit !== null) fail(`the node ended while starting (${exit}); last lines of ${logFile}:\n${tail(logFile)}`);
      if (Date.now() - started > timeoutS * 1_000) {
        process.kill(child.pid, "SIGKILL");
        fail(`${what} within --start-timeout-s ${timeoutS}; last lines of ${logFile}:\n${tail(logFile)}`);
      }
      await pause(100);
    }
  };
  let first = null;
  let head = null;
  await waitUntil("no new block", async () => {
    head = await rpc(state.rpc_url, "eth_blockNumber", []).then(Number, () => null);
    first ??= head;
    return head !== null && (head > first || options.follower);
  });
  if (older) await fundInEspace(state, waitUntil);
  writeState(dir, state);
  child.unref();
  console.log(`devnet ready after ${((Date.now() - started) / 1_000).toFixed(1)} s: ${state.rpc_url}, chain ${CHAIN_ID}, block ${head}, pid ${child.pid}, ${path.join(dir, "devnet.json")}`);
}

/** On a new chain of the older node, whose accounts have nothing in eSpace. */
async function fundInEspace({ rpc_url, native_rpc_url, accounts }, waitUntil) {
  const empty = async ({ address }) => BigInt(await rpc(rpc_url, "eth_getBalance", [address, "latest"])) === 0n;
  const poor = [];
  for (const account of accounts) if (await empty(account)) poor.push(account);
  if (poor.length === 0) return;
  const { fund } = await import("./v2.4/fund.mjs");
  await fund(native_rpc_url, CORE_CHAIN_ID, poor);
  await waitUntil("an account without funds", async () => !(await Promise.all(poor.map(empty))).includes(true));
}

/** A node's key, kept over restarts, and the name by which others reach it. */
function peerIdentity(known, port) {
  const key = crypto.createECDH("secp256k1");
  if (known) key.setPrivateKey(known, "hex");
  else key.generateKeys();
  const id = key.getPublicKey("hex", "uncompressed").slice(2);
  return { net_key: key.getPrivateKey("hex").padStart(64, "0"), peer_url: `cfxnode://${id}@127.0.0.1:${port}` };
}

async function down({ dir, "stop-timeout-s": timeout }) {
  const timeoutS = wholeNumber("--stop-timeout-s", timeout, 1, 3_600);
  const state = runningNode(dir);
  if (!state) {
    console.log("devnet is not running");
    return;
  }
  process.kill(state.pid, "SIGTERM");
  if (!(await ended(state, timeoutS))) fail(`pid ${state.pid} still runs ${timeoutS} s after SIGTERM; 'scripts/devnet kill' ends it at once`);
  console.log("devnet stopped, its chain is kept");
}

async function kill({ dir }) {
  const state = runningNode(dir);
  if (!state) {
    console.log("devnet is not running");
    return;
  }
  process.kill(state.pid, "SIGKILL");
  if (!(await ended(state, 10))) fail(`pid ${state.pid} still runs 10 s after SIGKILL`);
  console.log("devnet killed");
}

async function status({ dir }) {
  const state = runningNode(dir);
  if (!state) {
    console.log(`devnet in ${dir}: not running`);
    process.exitCode = 3;
    return;
  }
  const [head, safe] = await Promise.all(
    ["latest", "safe"].map((tag) => rpc(state.rpc_url, "eth_getBlockByNumber", [tag, false]).then((b) => Number(b.number))),
  );
  console.log(`devnet in ${dir}: running\n  rpc    ${state.rpc_url}\n  ws     ${state.ws_url}\n  pid    ${state.pid}\n  head   ${head}\n  safe   ${safe} (${head - safe} behind)`);
}

/** Takes the chain of a stopped devnet, so that a test can start from one that is already deployed. */
function copyChain(from, to) {
  if (runningNode(from)) fail(`--from ${from}: still running; a chain is copied only when its node is stopped`);
  if (!fs.existsSync(path.join(from, "blockchain_db"))) fail(`--from ${from}: no chain there`);
  if (fs.existsSync(path.join(to, "blockchain_db"))) fail(`--from: ${to} already has a chain`);
  const skipped = new Set(["devnet.json", "node.log", "log", "scratch"]);
  fs.cpSync(from, to, {
    recursive: true,
    mode: fs.constants.COPYFILE_FICLONE,
    filter: (source) => !(path.dirname(source) === from && skipped.has(path.basename(source))),
  });
}

/** 0 keeps the port this directory had, if it is free, so that clients survive a restart; else any free one. */
async function choosePorts(options, previous) {
  const wanted = {
    rpc: options.port,
    ws: options["ws-port"] ?? (options.port === "0" ? "0" : String(Number(options.port) + 1)),
    native: options["native-port"],
    p2p: options["p2p-port"],
  };
  const ports = {};
  for (const [name, text] of Object.entries(wanted)) {
    const port = wholeNumber(`port for ${name}`, text, 0, 65_535);
    const taken = Object.values(ports);
    if (port !== 0) {
      if (taken.includes(port) || !(await isFree(port))) fail(`port ${port} for ${name} is in use`);
      ports[name] = port;
    } else if (previous?.ports && !taken.includes(previous.ports[name]) && (await isFree(previous.ports[name]))) {
      ports[name] = previous.ports[name];
    } else {
      ports[name] = await freePort(taken);
    }
  }
  return ports;
}

/** Below the ephemeral range, where no outgoing connection takes the port before the node binds it. */
async function freePort(taken) {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  return fail("no free port between 12000 and 32000");
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "0.0.0.0", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function readState(dir) {
  const file = path.join(dir, "devnet.json");
  if (!fs.existsSync(file)) return null;
  const state = JSON.parse(fs.readFileSync(file, "utf8"));
  return state.dir === dir ? state : null; // a copied directory names another node
}

function writeState(dir, state) {
  const file = path.join(dir, "devnet.json");
  fs.writeFileSync(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`);
  fs.renameSync(`${file}.new`, file);
}

function runningNode(dir) {
  const state = readState(dir);
  return state && isAlive(state) ? state : null;
}

/** Process ids are reused: the command line must still name this devnet, and a zombie runs no longer. */
function isAlive({ pid, dir }) {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(path.join(dir, "conflux."));
  } catch {
    return false;
  }
}

async function ended(state, timeoutS) {
  const until = Date.now() + timeoutS * 1_000;
  while (isAlive(state)) {
    if (Date.now() > until) return false;
    await pause(50);
  }
  return true;
}

async function rpc(url, method, params) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    signal: AbortSignal.timeout(5_000),
  });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

function tail(file) {
  return fs.readFileSync(file, "utf8").split("\n").slice(-15).join("\n");
}

function wholeNumber(name, text, min, max) {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) fail(`${name}: '${text}' is not a whole number from ${min} to ${max}`);
  return value;
}

function fail(message) {
  console.error(`devnet: ${message}`);
  process.exit(1);
}

try {
  await main();
} catch (error) {
  fail(error.message);
}
