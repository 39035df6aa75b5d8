// Runs one Conflux node in this process until SIGTERM or SIGINT. Usage: node run-node.mjs <dir>/conflux.toml
import { createRequire } from "node:module";

const { ConfluxNode } = createRequire(import.meta.url)("@xcfx/node-linux-x64-gnu");
const configFile = process.argv[2];

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
// The node's own threads do not hold the event loop.
setInterval(() => {}, 1 << 30);

try {
  await node.startNode({ configFile });
  console.log("node started");
} catch (error) {
  console.error(`the node did not start: ${error.message}`);
  process.exit(1);
}
