import { expect, test } from "vitest";

import {
  AppraisalError,
  ConflictError,
  ERROR_CLASSES,
  ERROR_CODES,
  ERROR_FAMILIES,
  LimitError,
  MalformedError,
  RefusedError,
  SymphonyError,
  UnavailableError,
  VerificationError,
} from "#protocol";

/** SCP core spec, part 8, and requirement CB-2. */
const FAMILIES_OF_THE_SPECIFICATION = [
  ...["SCHEMA", "VERSION", "AUTH", "CONSENT", "POLICY", "EXECUTION", "PROOF", "TEE", "VERIFY"],
  ...["COORDINATION", "DERIVATION", "COMPOSITION", "PRIVACY_BUDGET", "SETTLEMENT", "REWARD"],
  ...["PAYOUT", "DELIVERY", "GOVERNANCE", "INTERNAL"],
];

test("[CB-2] the families are those of the specification, and each has a code", () => {
  expect([...ERROR_FAMILIES].sort()).toEqual([...FAMILIES_OF_THE_SPECIFICATION].sort());
  for (const family of ERROR_FAMILIES) {
    expect(ERROR_CODES.filter((code) => code.startsWith(`${family}_`))).not.toEqual([]);
  }
});

test("[CB-2] every code begins with a family and appears once", () => {
  const inFamily = ERROR_CODES.filter((code) =>
    FAMILIES_OF_THE_SPECIFICATION.some((family) => code.startsWith(`${family}_`)),
  );
  expect(inFamily).toEqual(ERROR_CODES);
  expect(new Set(ERROR_CODES).size).toBe(ERROR_CODES.length);
});

const CLASSES = [
  { Class: MalformedError, name: "malformed" },
  { Class: VerificationError, name: "verification" },
  { Class: AppraisalError, name: "appraisal" },
  { Class: RefusedError, name: "refused" },
  { Class: ConflictError, name: "conflict" },
  { Class: LimitError, name: "limit" },
  { Class: UnavailableError, name: "unavailable" },
] as const;

test.for(CLASSES)("[CB-2] a $name error shows its code and facts", ({ Class, name }) => {
  const cause = new Error("below");
  const error = new Class({ code: "POLICY_DECLINED", seat: 4 }, "seat: expected 3, got 4", {
    cause,
  });
  expect(error).toBeInstanceOf(SymphonyError);
  expect(error).toMatchObject({
    class: name,
    code: "POLICY_DECLINED",
    details: { seat: 4 },
    cause,
  });
  expect(error.details).not.toHaveProperty("code");
  expect(error.message).toBe("seat: expected 3, got 4");
  expect(error.name).toBe(Class.name);
});

test("every class has its error", () => {
  expect(CLASSES.map(({ name }) => name)).toEqual(ERROR_CLASSES);
});
