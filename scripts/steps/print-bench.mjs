// print-bench.mjs FILE: a benchmark's result as a table; exit code 1 when a metric is over its limit.
import fs from "node:fs";

const metrics = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const number = (value) => (value === null || value === undefined ? "" : Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 3 }));
const verdict = ({ limit, ok }) => (limit === null || limit === undefined ? "" : ok ? "ok" : "OVER");

const header = ["metric", "value", "unit", "limit", ""];
const rows = metrics.map((m) => [m.metric, number(m.value), m.unit ?? "", number(m.limit), verdict(m)]);
const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
const rightAligned = [false, true, false, true, false];
const line = (row) => row.map((cell, i) => (rightAligned[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join("  ").trimEnd();

console.log(line(header));
console.log(widths.map((width) => "-".repeat(width)).join("  "));
for (const row of rows) console.log(line(row));
process.exitCode = metrics.some((m) => m.ok === false) ? 1 : 0;
