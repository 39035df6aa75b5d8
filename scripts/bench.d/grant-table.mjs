// Puts the runs of `grant` together. The limits are targets: they depend on disk and machine, so CI does not run this.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [dir, out] = process.argv.slice(2);
const read = (...path) => JSON.parse(readFileSync(join(dir, ...path)));
const fsync = read('fsync.json');
const round = (value) => Math.round(value * 1000) / 1000;
const rows = [];
const row = (metric, value, limit = null) =>
  rows.push({ metric, value: round(value), unit: 'ms', limit: limit === null ? null : round(limit), ok: limit === null || value <= limit });
row('fsync/p50', fsync.p50);
row('fsync/p99', fsync.p99);
for (const piles of [100, 1000]) {
  const run = read(String(piles), 'grant.json');
  // 86 ms is the mean published for the scheme that this project implements.
  row(`grant/${piles}/mean`, run.mean_ms, piles === 1000 ? 86 : null);
  row(`grant/${piles}/p50`, run.p50);
  row(`grant/${piles}/p99`, run.p99, 2 * fsync.p99 + 5);
  row(`grant/${piles}/max`, run.max);
  rows.push({ metric: `grant/${piles}/count`, value: run.count, unit: 'grants', limit: null, ok: true });
  rows.push({ metric: `grant/${piles}/refused`, value: run.refused, unit: 'answers', limit: 0, ok: run.refused === 0 });
}
writeFileSync(out, `${JSON.stringify(rows, null, 2)}\n`);
