// Runs one Conflux node in this process until SIGTERM or SIGINT. Usage: node run-node.mjs <dir>/conflux.toml [OWNER_PID]
import fs from "node:fs";
import { createRequire } from "node:module";

const { ConfluxNode } = createRequire(import.meta.url)("@xcfx/node-linux-x64-gnu");
const [configFile, ownerPid] = process.argv.slice(2);

const node = new ConfluxNode();
let stopping = false;

async function stop(signal) {
  if (stopping) return;
  stopping = true;
  console.log(`${signal}: stopping the node`);
  await node.stopNode();
  console.log("node stopped");
  process.exit(0);
}

process.on("SIGTERM", stop);
process.on("SIGINT", stop);
// The node's own threads do not hold the event loop, so this timer does. With an owner, it also ends the node after it: a
// test that was killed cannot clean up.
setInterval(() => {
  if (ownerPid && !fs.existsSync(`/proc/${ownerPid}`)) process.kill(process.pid, "SIGKILL");
}, 1_000);

try {
  await node.startNode({ configFile });
  console.log("node started");
} catch (error) {
  console.error(`the node did not start: ${error.message}`);
  process.exit(1);
}
