// Compares the phases of `grant endpoint-down`, all of one run. The limits are targets; CI does not run this.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [dir, out] = process.argv.slice(2);
const read = (phase) => JSON.parse(readFileSync(join(dir, `${phase}.json`)));
const round = (value) => Math.round(value * 1000) / 1000;
const up = read('up');
const rows = [];
const row = (metric, value, unit, limit = null) =>
  rows.push({ metric, value: round(value), unit, limit, ok: limit === null || value <= limit });
for (const phase of ['up', 'closed', 'hanging']) {
  const run = phase === 'up' ? up : read(phase);
  row(`grant/${phase}/p50`, run.p50, 'ms');
  row(`grant/${phase}/p99`, run.p99, 'ms');
  row(`grant/${phase}/max`, run.max, 'ms');
  row(`grant/${phase}/count`, run.count, 'grants');
  row(`grant/${phase}/refused`, run.refused, 'answers', 0);
  row(`grant/${phase}/unanswered`, run.unanswered, 'answers', 0);
  if (phase !== 'up') row(`grant/${phase}/p99 by up/p99`, run.p99 / up.p99, 'times', 2);
}
writeFileSync(out, `${JSON.stringify(rows, null, 2)}\n`);
