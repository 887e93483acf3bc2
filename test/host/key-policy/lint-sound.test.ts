import { expect, test } from "vitest";

import { isAllowed, lintKeyPolicy, parseKeyPolicy } from "../../../host/key-policy/index.ts";
import { Random } from "../../fuzz/random.ts";

const POLICIES = 4000;
const [CHOSEN, OTHER] = ["ab".repeat(48), "cd".repeat(48)];
const ROLE = "arn:aws:iam::111122223333:role/app";
const OPERATORS = [
  ...["StringEquals", "StringEqualsIgnoreCase", "StringNotEquals", "StringNotEqualsIgnoreCase"],
  ...["StringLike", "StringNotLike", "StringEqualsIfExists", "StringNotEqualsIfExists"],
  ...["ForAnyValue:StringEquals", "ForAllValues:StringEquals", "ForAnyValue:StringNotEquals"],
  ...["ForAllValues:StringNotEquals", "ArnLike", "ArnNotEquals", "Bool", "Null"],
];
const KEYS = ["ImageSha384", "PCR0", "PCR1", "PCR4", "PCR16", "PCR00", "NitroTPMPCR4", "Bogus"];
const VALUES = [[CHOSEN], [CHOSEN.toUpperCase()], [CHOSEN, "nonsense"], ["*"], []];
const ACTIONS = ["kms:Decrypt", "kms:De*", "kms:CreateGrant", "kms:*"];
const OTHER_ROLE = "arn:aws:iam::111122223333:role/other";
const PRINCIPALS = [ROLE, "*", "arn:aws:iam::111122223333:root", [ROLE, OTHER_ROLE], OTHER_ROLE];

type Context = ReadonlyMap<string, readonly string[]>;

function enclave(pcrs: Readonly<Record<string, string>>): Context {
  const all = { imagesha384: OTHER, pcr0: OTHER, pcr1: OTHER, pcr2: OTHER, pcr4: OTHER, ...pcrs };
  return new Map(
    Object.entries(all).map(([key, value]) => [`kms:recipientattestation:${key}`, [value]]),
  );
}

/** Requests that no policy for a chosen image may let through. */
const REQUESTS: readonly Context[] = [
  new Map(),
  enclave({}),
  enclave({ pcr1: CHOSEN, pcr2: CHOSEN, pcr4: CHOSEN, pcr16: CHOSEN }),
  ...[CHOSEN, OTHER].map((one) => new Map([["kms:recipientattestation:nitrotpmpcr4", [one]]])),
];

function pick<T>(random: Random, from: readonly [T, ...T[]] | readonly T[]): T {
  const picked = from[random.below(from.length)];
  if (picked === undefined) throw new RangeError("list: expected something to pick, got none");
  return picked;
}

function conditionOf(random: Random): object {
  const lines = Array.from({ length: 1 + random.below(3) }, () => {
    const operator = pick(random, OPERATORS);
    const values = operator === "Null" ? [pick(random, ["true", "false"])] : pick(random, VALUES);
    return [operator, { [`kms:RecipientAttestation:${pick(random, KEYS)}`]: values }] as const;
  });
  return Object.fromEntries(lines);
}

function statementOf(random: Random, index: number): object {
  const isDeny = index > 0 && random.below(2) === 0;
  const named = { AWS: pick(random, PRINCIPALS) };
  return {
    Effect: isDeny ? "Deny" : "Allow",
    ...(random.below(8) === 0 ? { NotPrincipal: named } : { Principal: named }),
    Action: isDeny ? pick(random, ["kms:*", "kms:Decrypt"]) : pick(random, ACTIONS),
    Resource: "*",
    ...(random.below(5) === 0 ? {} : { Condition: conditionOf(random) }),
  };
}

test("no policy that the linter passes lets another image, an instance or nobody's document decrypt", () => {
  const grant = { Effect: "Allow", Principal: "*", Action: "kms:Decrypt", Resource: "*" };
  const leaks: string[] = [];
  let passed = 0;
  for (let index = 0; index < POLICIES; index++) {
    const random = new Random(2026, "key policy", index);
    const count = 1 + random.below(3);
    const Statement = Array.from({ length: count }, (_, at) => statementOf(random, at));
    const text = JSON.stringify({ Statement });
    if (lintKeyPolicy(text).verdict === "decryptable-without-attestation") continue;
    passed += 1;
    const policy = parseKeyPolicy(text);
    const granted = parseKeyPolicy(JSON.stringify({ Statement: [...Statement, grant] }));
    const leaksTo = (principalArn: string, context: Context): boolean => {
      const use = { principalArn, keyArn: "key" };
      const mayGrant = isAllowed(policy, { ...use, action: "kms:CreateGrant", context: new Map() });
      return isAllowed(mayGrant ? granted : policy, { ...use, action: "kms:Decrypt", context });
    };
    const isLeak = REQUESTS.some((context) =>
      [ROLE, OTHER_ROLE].some((each) => leaksTo(each, context)),
    );
    if (isLeak) leaks.push(text);
  }
  expect(leaks).toEqual([]);
  expect(passed).toBeGreaterThan(200);
});
