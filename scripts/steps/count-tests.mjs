// count-tests.mjs LOG: prints "<passed> <failed>", the sum of every test summary in a log:
// nextest, cargo test, forge, pytest, unittest, and the scripts' own `N passed, N failed`.
import fs from "node:fs";

const log = fs.readFileSync(process.argv[2], "utf8").replaceAll(/\x1b\[[0-9;]*m/g, "");
const n = (text) => Number(text ?? 0);
const sum = (text, pattern) => [...text.matchAll(pattern)].reduce((total, match) => total + n(match[1]), 0);
let passed = 0;
let failed = 0;
const add = (more, less) => {
  passed += more;
  failed += less;
};

for (const line of log.split("\n")) {
  let m;
  if ((m = line.match(/^\s*Summary \[.*?\]\s+(?:\d+\/)?(\d+) tests? run: (\d+) passed/))) add(n(m[2]), n(m[1]) - n(m[2]));
  else if ((m = line.match(/^test result: \S+ (\d+) passed; (\d+) failed;/))) add(n(m[1]), n(m[2]));
  else if ((m = line.match(/^Ran \d+ test suites? .*: (\d+) tests? passed, (\d+) failed,/))) add(n(m[1]), n(m[2]));
  else if ((m = line.match(/^(\d+) passed, (\d+) failed$/))) add(n(m[1]), n(m[2]));
  else if (/^=*\s*\d+ (passed|failed|skipped|errors?)\b.* in [\d.]+s/.test(line)) add(sum(line, /(\d+) passed/g), sum(line, /(\d+) (?:failed|errors?)/g));
  else if ((m = line.match(/^Ran (\d+) tests? in [\d.]+s$/))) {
    const end = log.slice(log.indexOf(line)).match(/^FAILED \((.*)\)$/m);
    const bad = end ? sum(end[1], /(?:failures|errors)=(\d+)/g) : 0;
    add(n(m[1]) - bad, bad);
  }
}
console.log(`${passed} ${failed}`);
