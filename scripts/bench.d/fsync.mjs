// Appends 4 KiB and fdatasyncs, 300 times, in the folder given: what the disk itself asks for a durable write. Prints ms.
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const path = join(process.argv[2], 'fsync.probe');
const file = openSync(path, 'w');
const block = Buffer.alloc(4096, 1);
const took = [];
for (let i = 0; i < 300; i++) {
  writeSync(file, block);
  const start = process.hrtime.bigint();
  fdatasyncSync(file);
  took.push(Number(process.hrtime.bigint() - start) / 1e6);
}
closeSync(file);
rmSync(path);
took.sort((a, b) => a - b);
const at = (share) => took[Math.min(took.length - 1, Math.floor(share * took.length))];
console.log(JSON.stringify({ p50: at(0.5), p99: at(0.99) }));
