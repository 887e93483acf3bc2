import { join } from "node:path";

import { expect, test } from "vitest";

import * as attestation from "../../attestation/index.ts";
import { openCiphertextForRecipient } from "../../enclave/adapters/cms.ts";
import { Judge, snapshot } from "../mutation/judges.ts";
import { applyEdits } from "../vectors/attestation/apply.ts";
import { diffEdits } from "../vectors/attestation/diff.ts";
import {
  claimsOf,
  evaluateBase,
  evaluateVector,
  isAvailable,
} from "../vectors/attestation/evaluate.ts";
import { loadBases, loadChecks, loadClaims, loadVectors } from "../vectors/attestation/load.ts";
import { proveChecks } from "../vectors/attestation/prove-checks.ts";
import type { Base, Vector } from "../vectors/attestation/schema.ts";

const ROOT = join(import.meta.dirname, "../..");
const subject = { attestation, openCms: openCiphertextForRecipient };
const bases = loadBases();
const vectors = loadVectors();
const checks = loadChecks();

function baseOf({ number, base: name }: Vector): Base {
  const base = bases.get(name);
  if (base === undefined) throw new Error(`${number}: expected base ${name}, got none`);
  return base;
}

const needsShared = (base: Base, vector?: Vector): boolean => !isAvailable(base, vector);
const isOurs = (vector: Vector): boolean =>
  !JSON.stringify([vector, baseOf(vector)]).includes("shared:");

test("at least 200 vectors name a check, without any from the shared folder", () => {
  const counted = vectors.filter((vector) => vector.check !== null && isOurs(vector));
  expect(counted.length).toBeGreaterThanOrEqual(200);
});

test("numbers are unique and titles too, within one base", () => {
  const numbers = vectors.map(({ number }) => number);
  expect(new Set(numbers).size).toBe(numbers.length);
  const titles = vectors.map(({ base, title }) => `${base}: ${title}`);
  expect(titles.filter((title, at) => titles.indexOf(title) !== at)).toEqual([]);
});

test("every check is named by a vector, and the other way round", () => {
  const named = new Set(vectors.flatMap(({ check }) => check ?? []));
  expect([...named].sort()).toEqual([...checks.keys()].sort());
});

test.for([...bases])("[TT-1] accepts base %s", ([, base], context) => {
  context.skip(needsShared(base), "the folder SYMPHONY_SHARED is absent");
  expect(evaluateBase(base, { subject })).toEqual({ accepted: true });
});

test.for([...bases])("[TT-1] reads what base %s says", ([name, base], context) => {
  context.skip(needsShared(base), "the folder SYMPHONY_SHARED is absent");
  expect(claimsOf(base, subject)).toEqual(loadClaims()[name]);
});

test.for(vectors.map((vector) => [`${vector.number}, ${vector.title}`, vector] as const))(
  "[TT-1] refuses %s",
  ([, vector], context) => {
    const base = baseOf(vector);
    context.skip(needsShared(base, vector), "the folder SYMPHONY_SHARED is absent");
    const { stage, code } = vector;
    expect(evaluateVector(vector, base, { subject })).toEqual({ stage, code });
  },
);

test("[TT-1] a cache that has seen every chain changes no outcome", () => {
  const chainCache = attestation.createChainCache({ entriesMax: 64 });
  for (const base of bases.values()) {
    if (isAvailable(base)) {
      expect(evaluateBase(base, { subject, chainCache })).toEqual({ accepted: true });
    }
  }
  expect(chainCache.size).toBeGreaterThan(0);
  for (const vector of vectors.filter((each) => isAvailable(baseOf(each), each))) {
    const { number, stage, code } = vector;
    const outcome = evaluateVector(vector, baseOf(vector), { subject, chainCache });
    expect({ number, ...outcome }).toEqual({ number, stage, code });
  }
});

test("each of a sample of vectors is accepted once its check is removed", async () => {
  const categories = Map.groupBy(
    vectors.filter((vector) => vector.check !== null && isOurs(vector)),
    ({ number }) => number.slice(0, 1),
  );
  const sample = [...categories.values()].flatMap((list) =>
    list.filter((_, at) => at % Math.ceil(list.length / 4) === 0),
  );
  const { folder, remove } = snapshot(ROOT);
  const judge = new Judge(folder, 20_000);
  try {
    const proofs = await proveChecks(sample, checks, { judge, root: folder });
    expect(proofs.length).toBe(sample.length);
    expect(proofs.filter(({ fault }) => fault !== null)).toEqual([]);
  } finally {
    judge.close();
    remove();
  }
});

test("edits made of two texts make one of the other", () => {
  const pairs = [
    ["", "a"],
    ["abc", ""],
    ["one two three four five six", "one two 3 four five six and more"],
    ["0123456789".repeat(9), "0123456789".repeat(8)],
  ];
  for (const [before = "", after = ""] of pairs) {
    const [left, right] = [new Uint8Array(Buffer.from(before)), new Uint8Array(Buffer.from(after))];
    expect(applyEdits(left, diffEdits(left, right))).toEqual(right);
  }
});
