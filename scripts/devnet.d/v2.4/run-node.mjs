// Runs one Conflux v2.4 node in this process until SIGTERM or SIGINT. Usage: node run-node.mjs <dir>/conflux.json [OWNER_PID]
import fs from "node:fs";
import path from "node:path";
import { load } from "./addon.mjs";

const [configFile, ownerPid] = process.argv.slice(2);
const { ConfluxNode } = load(path.join(path.dirname(configFile), "scratch/conflux.node"));
const node = new ConfluxNode();
let stopping = false;

function stop(signal) {
  if (stopping) return;
  stopping = true;
  console.log(`${signal}: stopping the node`);
  node.stopNode((error) => {
    console.log(error ? `the node did not stop: ${error.message}` : "node stopped");
    process.exit(error ? 1 : 0);
  });
}

process.on("SIGTERM", stop);
process.on("SIGINT", stop);
// As in ../run-node.mjs.
setInterval(() => {
  if (ownerPid && !fs.existsSync(`/proc/${ownerPid}`)) process.kill(process.pid, "SIGKILL");
}, 1_000);

node.startNode(JSON.parse(fs.readFileSync(configFile, "utf8")), (error) => {
  if (!error) return console.log("node started");
  console.error(`the node did not start: ${error.message}`);
  process.exit(1);
});
