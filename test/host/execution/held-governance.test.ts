import { expect, test } from "vitest";

import {
  HeldGovernance,
  requireActiveVersions,
  requireNothingWithdrawn,
} from "../../../host/execution/held-governance.ts";
import { genesisState, type GovernanceState } from "../../../protocol/index.ts";
import { createNetwork } from "../../helpers/network.ts";

const network = await createNetwork();
const OLDER = genesisState(network.genesisBytes);
const leaf = new Uint8Array(32);

function later(change: Partial<GovernanceState>): GovernanceState {
  return { ...OLDER, sequence: OLDER.sequence + 1, ...change };
}

test("a node learns forward only", () => {
  const held = new HeldGovernance(OLDER);
  expect(held.leaves).toEqual([]);
  const newest = later({});
  held.learn({ state: newest, leaves: [leaf] });
  held.learn({ state: OLDER, leaves: [] });
  expect(held.newest).toBe(newest);
  expect(held.leaves).toEqual([leaf]);
});

test("[PV-2] a version that has been succeeded admits nothing new", () => {
  const policy = { ...OLDER.policy, policy_version_id: "policy-2" };
  const refused = expect.objectContaining({ code: "POLICY_NOT_ACTIVE" });
  expect(() => requireActiveVersions(OLDER, later({ policy }))).toThrow(refused);
  expect(() => requireActiveVersions(OLDER, later({}))).not.toThrow();
  expect(() => requireActiveVersions(later({ policy }), OLDER)).not.toThrow();
});

test("[CA-4] a registry that has been succeeded admits nothing new", () => {
  const semantics = { ...OLDER.semantics, semantic_version: "semantics-2" };
  const refused = expect.objectContaining({ code: "DERIVATION_UNRESOLVED" });
  expect(() => requireActiveVersions(OLDER, later({ semantics }))).toThrow(refused);
  expect(() => requireActiveVersions(later({ semantics }), OLDER)).not.toThrow();
});

test("[TT-5] an older state lacks no revocation", () => {
  const refused = expect.objectContaining({ code: "PROOF_CONSISTENCY_INVALID" });
  const revoked = later({ revokedMeasurements: ["ab".repeat(48)] });
  expect(() => requireNothingWithdrawn(OLDER, revoked)).toThrow(refused);
  expect(() => requireNothingWithdrawn(revoked, revoked)).not.toThrow();
});
