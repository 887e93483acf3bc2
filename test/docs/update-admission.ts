// Rewrites the order of admission in docs/admission.md: node test/docs/update-admission.ts; then prettier.
import * as fs from "node:fs";
import path from "node:path";

import { TABLE_BEGINS, TABLE_ENDS, admissionRows } from "./admission-table.ts";

const PAGE = path.resolve(import.meta.dirname, "../../docs/admission.md");
const head = ["", "Step", "Judged by", "What holds", "Refused with"];
const rows = [head, head.map(() => "---"), ...admissionRows()];
const table = rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
const [before, rest] = fs.readFileSync(PAGE, "utf8").split(TABLE_BEGINS);
const after = rest?.split(TABLE_ENDS)[1] ?? "";
fs.writeFileSync(PAGE, `${before}${TABLE_BEGINS}\n\n${table}\n\n${TABLE_ENDS}${after}`);
