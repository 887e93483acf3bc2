import { describe, expect, test } from "vitest";

import { appraiseSession, type SessionClaim } from "../../attestation/index.ts";
import {
  SESSION_MANIFEST,
  encodeCbor,
  genesisState,
  sha256,
  utf8,
  type GovernanceState,
  type SessionManifest,
} from "../../protocol/index.ts";
import { createNetwork } from "../helpers/network.ts";
import { ANCHOR, IMAGE, MODULE_ID, NONCE, NOW, PUBLIC_KEY, forgeDocument } from "./forge.ts";

const OTHER = sha256(utf8("another value"));
const STATE = genesisState((await createNetwork()).genesisBytes);
const AGE_MS_MAX = STATE.policy.attestation.age_ms_max;

const MANIFEST: SessionManifest = {
  version: 1,
  role: "slice",
  box_key: new Uint8Array(1216),
  signing_key: new Uint8Array(32),
  recipient_key: PUBLIC_KEY,
  genesis_digest: STATE.genesisDigest,
  anchors: [{ platform: "sim", sha256: sha256(ANCHOR.certificate) }],
  configuration_digest: new Uint8Array(32),
  runtime: "test",
  cpu_features: [],
  challenge: new Uint8Array(32),
};

/** A governance state that accepts the forged image, with changes to what it says of attestation. */
function governance(
  attestation: Partial<GovernanceState["policy"]["attestation"]> = {},
): GovernanceState {
  const value = { ...IMAGE, valid_from_ms: 0, valid_until_ms: NOW + 3_600_000 };
  const [first] = STATE.policy.attestation.reference_values;
  if (first === undefined) throw new Error("no reference value");
  return {
    ...STATE,
    policy: {
      ...STATE.policy,
      attestation: {
        ...STATE.policy.attestation,
        reference_values: [{ ...first, ...value }],
        ...attestation,
      },
    },
  };
}

/** A claim that is good but for `change`; its evidence is for the unchanged manifest. */
function claim(change: Partial<SessionClaim> = {}): SessionClaim {
  const userData = encodeCbor(SESSION_MANIFEST.digest(MANIFEST));
  return {
    evidence: forgeDocument({ fields: { user_data: userData } }),
    manifest: MANIFEST,
    role: "slice",
    nonce: NONCE,
    governance: governance(),
    anchors: [ANCHOR],
    at: { mode: "live", nowMs: NOW },
    ...change,
  };
}

/** The claim for another manifest, bound by evidence that says so. */
function bound(change: Partial<SessionManifest>): SessionClaim {
  const manifest = { ...MANIFEST, ...change };
  const userData = encodeCbor(SESSION_MANIFEST.digest(manifest));
  return claim({ manifest, evidence: forgeDocument({ fields: { user_data: userData } }) });
}

const fresh = (nowMs: number): Partial<SessionClaim> => ({ at: { mode: "live", nowMs } });

test("[TT-2] reports whom it accepts, live and from the archive", () => {
  expect(appraiseSession(claim())).toMatchObject({
    platform: "sim",
    enclave_identity: MODULE_ID,
    measurement: IMAGE,
    nonce: NONCE,
  });
  expect(appraiseSession(claim(fresh(NOW + AGE_MS_MAX)))).toMatchObject({ time_ms: NOW });
  expect(appraiseSession(claim({ at: { mode: "replay" } }))).toMatchObject({ time_ms: NOW });
});

interface Refusal {
  readonly title: string;
  readonly code: string;
  readonly refused: SessionClaim;
}

describe("[TT-2][XP-10] a session is refused", () => {
  test.for<Refusal>([
    {
      title: "in another role",
      code: "COORDINATION_ROLE_REFUSED",
      refused: claim({ role: "aggregate" }),
    },
    {
      title: "that says another role",
      code: "COORDINATION_ROLE_REFUSED",
      refused: bound({ role: "aggregate" }),
    },
    {
      title: "of another network",
      code: "GOVERNANCE_GENESIS_MISMATCH",
      refused: bound({ genesis_digest: OTHER }),
    },
    {
      title: "for another challenge",
      code: "TEE_NONCE_MISMATCH",
      refused: claim({ nonce: OTHER }),
    },
    {
      title: "whose evidence is of another manifest",
      code: "TEE_USER_DATA_MISMATCH",
      refused: claim({ manifest: { ...MANIFEST, box_key: new Uint8Array(1216).fill(1) } }),
    },
    {
      title: "whose evidence is of another recipient key",
      code: "TEE_PUBLIC_KEY_MISMATCH",
      refused: bound({ recipient_key: OTHER }),
    },
    {
      title: "with evidence a moment too old",
      code: "TEE_DOCUMENT_STALE",
      refused: claim(fresh(NOW + AGE_MS_MAX + 1)),
    },
    {
      title: "of another image",
      code: "TEE_MEASUREMENT_MISMATCH",
      refused: claim({ governance: { ...STATE } }),
    },
    {
      title: "of a revoked image",
      code: "TEE_MEASUREMENT_REVOKED",
      refused: claim({ governance: { ...governance(), revokedMeasurements: [IMAGE.pcr0] } }),
    },
    {
      title: "of a revoked machine",
      code: "TEE_PLATFORM_REVOKED",
      refused: claim({ governance: { ...governance(), revokedModuleIds: [MODULE_ID] } }),
    },
    {
      title: "of a platform the policy does not name",
      code: "TEE_PLATFORM_REFUSED",
      refused: claim({ governance: governance({ platforms: ["aws-nitro"] }) }),
    },
    {
      title: "when no root is trusted",
      code: "TEE_POLICY_EMPTY",
      refused: claim({ anchors: [] }),
    },
    {
      title: "from the archive, of an image revoked since",
      code: "TEE_MEASUREMENT_REVOKED",
      refused: claim({
        at: { mode: "replay" },
        governance: { ...governance(), revokedMeasurements: [IMAGE.pcr0] },
      }),
    },
  ])("$title", ({ code, refused }) => {
    expect(() => appraiseSession(refused)).toThrow(expect.objectContaining({ code }));
  });
});
