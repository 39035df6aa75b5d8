// slither-answers.mjs REPORT ANSWERS: holds slither's JSON report against the committed answers. A finding without an answer fails,
// and so does an answer without a finding. Ends with `N passed, N failed`.
import fs from "node:fs";

const [report, answers] = process.argv.slice(2, 4).map((file) => JSON.parse(fs.readFileSync(file, "utf8")));
if (!report.success) throw new Error(`slither failed: ${report.error}`);

/** "Contract.function", or the name alone of what stands in no contract. */
function place({ elements }) {
  let element = elements[0];
  while (element.type === "variable" || element.type === "node") element = element.type_specific_fields.parent;
  const parent = element.type_specific_fields?.parent;
  return parent?.type === "contract" ? `${parent.name}.${element.name}` : element.name;
}

const key = (check, where) => `${check} at ${where}`;
const open = new Set(answers.map((a) => key(a.check, a.place)));
const answered = new Set(open);
if (answered.size !== answers.length) throw new Error("two answers to the same finding");

let passed = 0;
let failed = 0;
for (const finding of report.results.detectors ?? []) {
  const name = key(finding.check, place(finding));
  open.delete(name);
  if (answered.has(name)) passed += 1;
  else {
    failed += 1;
    console.log(`not answered: ${name}\n${finding.description}`);
  }
}
for (const name of open) {
  failed += 1;
  console.log(`answered, but not found any more: ${name}`);
}
if (passed === 0) {
  failed += 1;
  console.log("slither found nothing: it did not look");
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
