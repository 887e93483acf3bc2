import { expect, test } from "vitest";

import { governanceStatementSchema } from "../../../protocol/governance/governance-objects.ts";

const PCR0 = "ab".repeat(48);

function parses(decision: unknown): boolean {
  return governanceStatementSchema.safeParse({
    genesis_digest: new Uint8Array(32),
    sequence: 1,
    previous: new Uint8Array(32),
    time_ms: 1,
    decision,
  }).success;
}

test.for([
  { type: "measurement_revoked", pcr0: PCR0 },
  { type: "platform_revoked", module_id: "i-0123456789abcdef" },
  { type: "platform_revoked", module_id: "i-0123456789abcdef-enc0123456789abcdef" },
])("a revocation is spelled as evidence spells it: %j", (decision) => {
  expect(parses(decision)).toBe(true);
});

test.for([
  { type: "measurement_revoked", pcr0: PCR0.toUpperCase() },
  { type: "measurement_revoked", pcr0: PCR0.slice(2) },
  { type: "measurement_revoked", pcr0: "x".repeat(96) },
  { type: "platform_revoked", module_id: "" },
  { type: "platform_revoked", module_id: "i-0123456789ABCDEF" },
  { type: "platform_revoked", module_id: "i-0123456789abcdef " },
  { type: "platform_revoked", module_id: "i-0123456789abcdef-enc0123456789abcdef.eu-west-1.aws" },
])("[TT-5] a revocation that would match nothing, or stop everything, is none: %j", (decision) => {
  expect(parses(decision)).toBe(false);
});
