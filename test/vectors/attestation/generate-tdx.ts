import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { format, resolveConfig } from "prettier";

import { appraiseCases } from "./cases/g-appraise.ts";
import { baseFiles, baseJson, vectorOf } from "./cases/g-case.ts";
import { chainCases } from "./cases/g-chain.ts";
import { collateralCases } from "./cases/g-collateral.ts";
import { parseCases } from "./cases/g-parse.ts";
import { policyCases } from "./cases/g-policy.ts";
import { verifyCases } from "./cases/g-verify.ts";

/** Writes category G and its bases anew, with fresh keys: `node test/vectors/attestation/generate-tdx.ts`. */

const FOLDER = import.meta.dirname;

for (const [name, bytes] of baseFiles()) writeFileSync(join(FOLDER, "bases", name), bytes);
for (const [name, json] of baseJson()) await writeJson(`bases/${name}.json`, json);
const cases = [
  ...parseCases(),
  ...chainCases(),
  ...collateralCases(),
  ...verifyCases(),
  ...appraiseCases(),
  ...policyCases(),
];
await writeJson("g-tdx.json", cases.map(vectorOf));

async function writeJson(name: string, value: unknown): Promise<void> {
  const file = join(FOLDER, name);
  const options = { ...(await resolveConfig(file)), filepath: file };
  writeFileSync(file, await format(JSON.stringify(value), options));
}
