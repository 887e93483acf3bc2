import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { admissionRows, rowsOfPage } from "./admission-table.ts";

const PAGE = path.resolve(import.meta.dirname, "../../docs/admission.md");

test("[AP-6] the page has the order of admission that the code runs", () => {
  expect(rowsOfPage(fs.readFileSync(PAGE, "utf8"))).toEqual(admissionRows());
});
