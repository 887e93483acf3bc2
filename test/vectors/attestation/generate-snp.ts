import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { format, resolveConfig } from "prettier";

import { hex } from "../../../protocol/index.ts";
import { appraiseCases } from "./cases/f-appraise.ts";
import { SNP_BASES } from "./cases/f-bases.ts";
import type { SnpCase } from "./cases/f-case.ts";
import { chainCases } from "./cases/f-chain.ts";
import { expectationCases } from "./cases/f-expectations.ts";
import { GENUINE_BASE, genuineCases } from "./cases/f-genuine.ts";
import { parseCases } from "./cases/f-parse.ts";
import { reportCases } from "./cases/f-report.ts";
import { diffEdits } from "./diff.ts";
import { readReference } from "./load.ts";
import type { Edit, VectorInput } from "./schema.ts";

/**
 * Writes category F and its bases anew, with fresh keys: `node test/vectors/attestation/generate-snp.ts`.
 *
 * Cases on genuine evidence need the folder SYMPHONY_SHARED.
 */

const FOLDER = import.meta.dirname;

for (const [name, { document, endorsements, json }] of SNP_BASES) {
  const [ark, authority, leaf] = endorsements;
  writeFileSync(join(FOLDER, "bases", `${name}.bin`), document);
  writeFileSync(join(FOLDER, "bases", `${name}-ark.der`), ark);
  writeFileSync(join(FOLDER, "bases", `${name}-authority.der`), authority);
  writeFileSync(join(FOLDER, "bases", `${name}-leaf.der`), leaf);
  await writeJson(`bases/${name}.json`, json);
}
await writeJson("bases/snp-genuine.json", GENUINE_BASE);
const cases = [
  ...parseCases(),
  ...chainCases(),
  ...reportCases(),
  ...appraiseCases(),
  ...expectationCases(),
  ...genuineCases(),
];
await writeJson("f-snp.json", cases.map(vectorOf));

async function writeJson(name: string, value: unknown): Promise<void> {
  const file = join(FOLDER, name);
  const options = { ...(await resolveConfig(file)), filepath: file };
  writeFileSync(file, await format(JSON.stringify(value), options));
}

/** The case as it is stored: its bytes as edits of the base's. */
function vectorOf({ document, endorsements = {}, ...others }: SnpCase, at: number): VectorInput {
  const parts: Record<string, Edit[]> = {};
  const swap: Record<string, string | null> = { ...others.swap };
  for (const [position, certificate] of Object.entries(endorsements)) {
    const before = SNP_BASES.get(others.base)?.endorsements[Number(position)];
    const part = `endorsements/${position}`;
    if (before === undefined) swap[part] = `hex:${hex(certificate)}`;
    else parts[part] = diffEdits(before, certificate);
  }
  return {
    number: `F-${String(at + 1).padStart(2, "0")}`,
    ...others,
    source: others.source ?? "synthetic",
    edits: document === undefined ? [] : diffEdits(documentOf(others.base), document),
    parts,
    swap,
  };
}

function documentOf(name: string): Uint8Array {
  return SNP_BASES.get(name)?.document ?? readReference(GENUINE_BASE.parts["document"] ?? "");
}
