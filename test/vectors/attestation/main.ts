import { writeFileSync } from "node:fs";
import { join } from "node:path";

import * as attestation from "../../../attestation/index.ts";
import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { Judge, snapshot } from "../../mutation/judges.ts";
import { claimsOf, evaluateBase, evaluateVector, isAvailable, type Subject } from "./evaluate.ts";
import { CLAIMS_FILE, loadBases, loadChecks, loadVectors } from "./load.ts";
import { proveChecks } from "./prove-checks.ts";
import type { Base, Vector } from "./schema.ts";

const ROOT = join(import.meta.dirname, "../../..");
const JUDGE_TIMEOUT_MS = 30_000;
const subject: Subject = { attestation, openCms: openCiphertextForRecipient };
const bases = loadBases();

const OPTIONS = ["--checks", "--write-claims"];
const words = process.argv.slice(2);
const wanted = words.filter((word) => !OPTIONS.includes(word));
const unknown = wanted.filter((word) => !/^[A-H](-\d+)?$/.test(word));
if (unknown.length > 0) {
  const expected = `${OPTIONS.join(", ")}, categories or numbers`;
  console.error(`vectors: expected ${expected}, got ${unknown.join(" ")}`);
  process.exit(2);
}
if (words.includes("--write-claims")) await writeClaims();
const faults = [
  ...basesAccepted(),
  ...vectorsRefused(chosen()),
  ...(words.includes("--checks") ? await checksProven(chosen()) : []),
];
faults.forEach((fault) => console.log(fault));
process.exitCode = faults.length > 0 ? 1 : 0;

function chosen(): readonly Vector[] {
  const all = loadVectors();
  if (wanted.length === 0) return all;
  return all.filter(({ number }) =>
    wanted.some((word) => number === word || number.startsWith(`${word}-`)),
  );
}

function basesAccepted(): readonly string[] {
  const present = [...bases].filter(([, base]) => isAvailable(base));
  console.log(`${present.length} of ${bases.size} bases present`);
  return present.flatMap(([name, base]) => {
    const outcome = evaluateBase(base, { subject });
    return "accepted" in outcome
      ? []
      : [`base ${name}: expected it accepted, got ${outcome.stage} ${outcome.code}`];
  });
}

function baseOf({ number, base: name }: Vector): Base {
  const base = bases.get(name);
  if (base === undefined) throw new Error(`${number}: expected base ${name}, got none`);
  return base;
}

function vectorsRefused(vectors: readonly Vector[]): readonly string[] {
  const present = vectors.filter((vector) => isAvailable(baseOf(vector), vector));
  const counted = vectors.filter(({ check }) => check !== null).length;
  console.log(`${present.length} of ${vectors.length} vectors present, ${counted} name a check`);
  return present.flatMap((vector) => {
    const { number, stage, code } = vector;
    const outcome = evaluateVector(vector, baseOf(vector), { subject });
    const got = "accepted" in outcome ? "accepted" : `${outcome.stage} ${outcome.code}`;
    return got === `${stage} ${code}` ? [] : [`${number}: expected ${stage} ${code}, got ${got}`];
  });
}

async function checksProven(vectors: readonly Vector[]): Promise<readonly string[]> {
  const present = vectors.filter((vector) => isAvailable(baseOf(vector), vector));
  const { folder, remove } = snapshot(ROOT);
  const judge = new Judge(folder, JUDGE_TIMEOUT_MS);
  try {
    const proofs = await proveChecks(present, loadChecks(), { judge, root: folder });
    const failed = proofs.filter(({ fault }) => fault !== null);
    console.log(
      `${proofs.length - failed.length} of ${proofs.length} accepted without their check`,
    );
    return failed.map(({ number, check, fault }) => `${number} without ${check}: ${fault}`);
  } finally {
    judge.close();
    remove();
  }
}

/** Rewrites what each base says; read the difference before you commit it. */
async function writeClaims(): Promise<void> {
  const { format, resolveConfig } = await import("prettier");
  const said = Object.fromEntries(
    [...bases].map(([name, base]) => [name, claimsOf(base, subject)]),
  );
  const options = { ...(await resolveConfig(CLAIMS_FILE)), filepath: CLAIMS_FILE };
  writeFileSync(CLAIMS_FILE, await format(JSON.stringify(said), options));
}
