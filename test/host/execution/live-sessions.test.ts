import { afterEach, beforeEach, describe, expect, test } from "vitest";

import {
  TASK_ENVELOPE,
  hex,
  peerNonce,
  vaultNonce,
  type GovernanceStatement,
  type RoundMessage,
} from "../../../protocol/index.ts";
import { bootHosted, startEnclave } from "../../helpers/enclave-rig.ts";
import { startNodeRig, type NodeRig } from "../../helpers/vault-node-rig.ts";
import { NETWORK_TIME_MS, TEST_MEASUREMENT, testSeed } from "../../helpers/network.ts";
import { newFixture, stocked } from "../sovereignty/vault-fixture.ts";

type Decision = GovernanceStatement["decision"];

const SOLE = ["vault-1"];
const SHARED = ["vault-1", "vault-2", "vault-3"];
const REVOKED: Decision = { type: "measurement_revoked", pcr0: TEST_MEASUREMENT.pcr0 };

let rig: NodeRig;

const WINDOW_END_MS = NETWORK_TIME_MS + 3_600_000;

/** A node whose policy runs queries over many Vaults, or over one alone. */
async function start(vaultIds: readonly string[]): Promise<NodeRig> {
  const fixture = await newFixture({
    policy: (policy) => ({
      ...policy,
      classes: {
        ...policy.classes,
        query: { ...policy.classes.query, multi_vault: vaultIds.length > 1 },
      },
      attestation: {
        ...policy.attestation,
        age_ms_max: 60_000,
        reference_values: policy.attestation.reference_values.map((value) => ({
          ...value,
          valid_until_ms: WINDOW_END_MS,
        })),
      },
    }),
  });
  await stocked(fixture);
  return startNodeRig(fixture);
}

beforeEach(async ({ task }) => {
  rig = await start(/shared|aggregator/.test(task.name) ? SHARED : SOLE);
});

afterEach(() => rig.stop());

/** What the node told the round at its end, and how much of the work it did. */
async function runSlice(vaultIds: readonly string[]) {
  const envelope = await rig.admit(vaultIds);
  await rig.perform(await rig.sliceOf(envelope));
  return { envelope, ...seen() };
}

function seen() {
  const kinds = rig.posted.map(({ kind }) => kind);
  return { kinds, failed: bodyOf("failed"), last: rig.requests.at(-1) };
}

function bodyOf<Kind extends RoundMessage["body"]["kind"]>(kind: Kind) {
  return rig.posted.find((body) => body.kind === kind);
}

/** Revokes the image that runs, once: as this Vault cosigns it. */
const revoke = async (): Promise<void> => {
  expect(await rig.govern(REVOKED)).toBeNull();
};

async function executions(): Promise<number> {
  return (await rig.fixture.vault.status()).reservations.executing;
}

const spent = { code: "TEE_MEASUREMENT_REVOKED", executing: true };
const unspent = { code: "TEE_MEASUREMENT_REVOKED", executing: false };

test("[TT-5][RT-2] a slice that nothing happens to posts its result, and its enclave ends", async () => {
  const { kinds, failed } = await runSlice(SOLE);
  expect(failed).toBeUndefined();
  expect(kinds).toEqual(["slice_attested", "slice_result"]);
  expect(rig.requests).toEqual(["boot", "attest", "run"]);
  expect(rig.enclavesAlive()).toBe(0);
});

describe("a document that was not made for this session", () => {
  let earlier = new Uint8Array(0);

  /** A whole slice before, whose documents were genuine and accepted. */
  const record = async (vaultIds: readonly string[]): Promise<void> => {
    rig.hooks.attested = (document) => (earlier = Uint8Array.from(document));
    rig.hooks.aggregatorAttested = (document) => (earlier = Uint8Array.from(document));
    await runSlice(vaultIds);
    rig.posted.length = 0;
    rig.requests.length = 0;
    rig.hooks.aggregatorAttested = undefined;
    rig.hooks.attested = undefined;
  };

  test.for<{
    title: string;
    code: string;
    attested: (document: Uint8Array, again: Again) => Promise<Uint8Array> | Uint8Array;
  }>([
    { title: "none", code: "TEE_DOCUMENT_MALFORMED", attested: () => new Uint8Array(0) },
    {
      title: "the same one, presented a second time",
      code: "TEE_NONCE_MISMATCH",
      attested: () => earlier,
    },
    {
      title: "this enclave's, made for a peer",
      code: "TEE_NONCE_MISMATCH",
      attested: (_, again) => again(peerNonce(testSeed("challenge"), testSeed("manifest"))),
    },
    {
      title: "this enclave's, made for another attempt",
      code: "TEE_NONCE_MISMATCH",
      attested: (_, again) =>
        again(
          vaultNonce(
            { envelope_digest: testSeed("e"), vault_id: "vault-1", round: 0, attempt: 1 },
            testSeed("random"),
          ),
        ),
    },
  ])("[TT-6][TT-1][RT-2] releases nothing for $title: $code", async ({ code, attested }) => {
    await record(SOLE);
    rig.hooks.attested = attested;
    const { failed, kinds, last } = await runSlice(SOLE);
    expect(failed).toMatchObject({ code, executing: false });
    expect({ kinds, last }).toEqual({ kinds: ["failed"], last: "attest" });
    expect(rig.enclavesAlive()).toBe(0);
  });

  test("[TT-1][RT-2] of a shared task's aggregator, presented a second time, releases nothing", async () => {
    await record(SHARED);
    rig.hooks.aggregatorAttested = () => earlier;
    const { failed, kinds } = await runSlice(SHARED);
    expect(failed).toMatchObject({ code: "TEE_NONCE_MISMATCH", executing: false });
    expect(kinds).toEqual(["slice_attested", "failed"]);
  });

  test("[TT-1][RT-2] of another enclave in the place of a shared task's aggregator releases nothing", async () => {
    rig.hooks.aggregatorAttested = async (_, nonce) => {
      const { network, clock } = rig.fixture;
      const end = startEnclave({ timeMs: clock.nowMs });
      const other = await bootHosted(end, "aggregate", network.genesisBytes);
      return other.attest(nonce);
    };
    const { failed, kinds } = await runSlice(SHARED);
    expect(failed).toMatchObject({ code: "TEE_USER_DATA_MISMATCH", executing: false });
    expect(kinds).toEqual(["slice_attested", "failed"]);
  });

  test("[TT-1] has another nonce for every envelope, Vault, round, attempt and moment", () => {
    const reference = { envelope_digest: testSeed("e"), vault_id: "v", round: 0, attempt: 0 };
    const nonces = [
      vaultNonce(reference, testSeed("random")),
      vaultNonce(reference, testSeed("other random")),
      vaultNonce({ ...reference, envelope_digest: testSeed("f") }, testSeed("random")),
      vaultNonce({ ...reference, vault_id: "w" }, testSeed("random")),
      vaultNonce({ ...reference, round: 1 }, testSeed("random")),
      vaultNonce({ ...reference, attempt: 1 }, testSeed("random")),
      peerNonce(testSeed("random"), testSeed("manifest")),
      peerNonce(testSeed("other random"), testSeed("manifest")),
      peerNonce(testSeed("random"), testSeed("other manifest")),
    ];
    expect(new Set(nonces.map(hex)).size).toBe(nonces.length);
  });
});

type Again = (nonce: Uint8Array) => Promise<Uint8Array>;

describe("a measurement that governance revokes", () => {
  test("[TT-5] before the order: nothing is charged, ordered or released", async () => {
    rig.hooks.posted = async ({ kind }) => {
      if (kind === "slice_attested") await revoke();
    };
    const { failed, kinds, last } = await runSlice(SOLE);
    expect(failed).toMatchObject(unspent);
    expect({ kinds, last }).toEqual({ kinds: ["slice_attested", "failed"], last: "attest" });
    expect(await executions()).toBe(0);
    expect(rig.enclavesAlive()).toBe(0);
  });

  test("[TT-5] after the order: the key service is not asked", async () => {
    let asked = 0;
    rig.hooks.ordered = revoke;
    rig.hooks.releasing = () => {
      asked += 1;
    };
    const { failed, last } = await runSlice(SOLE);
    expect(failed).toMatchObject(spent);
    expect({ asked, last }).toEqual({ asked: 0, last: "attest" });
  });

  test("[TT-5] while keys are fetched: the enclave gets neither order nor keys", async () => {
    rig.hooks.releasing = async () => {
      rig.hooks.releasing = () => undefined;
      await revoke();
    };
    const { failed, last } = await runSlice(SOLE);
    expect(failed).toMatchObject(spent);
    expect(last).toBe("attest");
  });

  test("[TT-5] while the enclave runs: it is killed", async () => {
    rig.hooks.asked = async ({ method }) => {
      if (method !== "run") return undefined;
      await revoke();
      expect(rig.enclavesAlive()).toBe(1);
      return "hold";
    };
    const { failed, kinds } = await runSlice(SOLE);
    expect(failed).toMatchObject(spent);
    expect(kinds).not.toContain("slice_result");
    expect(rig.enclavesAlive()).toBe(0);
  });

  test("[TT-5] when it has just finished: its result is not posted", async () => {
    rig.hooks.answered = async ({ method }) => {
      if (method === "run") await revoke();
    };
    const { failed, kinds } = await runSlice(SOLE);
    expect(failed).toMatchObject(spent);
    expect(kinds).not.toContain("slice_result");
  });

  test("[TT-5] after the order of a shared task: the aggregator gets no contribution", async () => {
    rig.hooks.ordered = revoke;
    const { failed, kinds } = await runSlice(SHARED);
    expect(failed).toMatchObject(spent);
    expect(kinds).toEqual(["slice_attested", "failed"]);
  });

  test("[TT-5] blocks new dispatch: the next slice ends before anything is charged", async () => {
    await revoke();
    const { failed, kinds } = await runSlice(SOLE);
    expect(failed).toMatchObject(unspent);
    expect(kinds).toEqual(["failed"]);
  });
});

test("[TT-5] a Vault with as many enclaves running as it can hears of a revocation", async () => {
  rig.hooks.asked = ({ method }) => (method === "boot" ? Promise.resolve("hold") : undefined);
  const slice = await rig.sliceOf(await rig.admit(SOLE));
  const running = Array.from({ length: 9 }, () => rig.perform(slice));
  let heard = false;
  const governed = rig.govern(REVOKED).then(() => (heard = true));
  await Promise.any(running);
  expect(heard).toBe(true);
  await governed;
  // The ninth waited, and is refused for the older governance that its work carries.
  const codes = (await Promise.all(running)).map(({ code }) => code);
  expect(codes.filter((code) => code === "PROOF_CONSISTENCY_INVALID")).toHaveLength(1);
  expect(rig.requests).toHaveLength(8);
});

test("[TT-5] an aggregator whose platform is revoked while its slices wait ends them", async () => {
  rig.hooks.posted = async ({ kind }) => {
    if (kind !== "contribution") return;
    const module_id = rig.aggregatorModule();
    expect(await rig.govern({ type: "platform_revoked", module_id })).toBeNull();
  };
  const { failed, last } = await runSlice(SHARED);
  expect(failed).toMatchObject({ code: "TEE_PLATFORM_REVOKED", executing: true });
  expect(last).toBe("attest");
  expect(rig.enclavesAlive()).toBe(0);
});

test("[TT-5] a revocation after settlement keeps the share of the result key back", async () => {
  const { envelope } = await runSlice(SOLE);
  const result = rig.posted.find((body) => body.kind === "slice_result");
  const bundle = result?.bundle ?? new Uint8Array(0);
  const task = { envelope: TASK_ENVELOPE.encode(envelope), bundle };
  const { envelope: encoded } = task;
  const settled = await rig.perform({ kind: "settle", envelope: encoded, bundles: [bundle] });
  expect(settled.code).toBeNull();
  const nothing = new Uint8Array(0);
  const release = async () =>
    rig.perform({
      ...task,
      kind: "release",
      governance: rig.governance(),
      settlement: nothing,
      sealed_share: nothing,
    });
  expect(await release()).toMatchObject({ code: "PROOF_COMMITMENT_MISMATCH" });
  await revoke();
  expect(await release()).toMatchObject({ code: "TEE_MEASUREMENT_REVOKED" });
});

describe("a window of the policy", () => {
  test("[TT-5] a reference value's that ends while an enclave runs, ends it", async () => {
    rig.hooks.asked = ({ method }) => {
      if (method !== "run") return undefined;
      rig.fixture.clock.nowMs = WINDOW_END_MS;
      return Promise.resolve("hold");
    };
    const { failed } = await runSlice(SOLE);
    expect(failed).toMatchObject({ code: "TEE_MEASUREMENT_MISMATCH", executing: true });
    expect(rig.enclavesAlive()).toBe(0);
  });

  test("[RT-2] evidence too old when a secret would be released releases none", async () => {
    rig.hooks.posted = ({ kind }) => {
      if (kind === "slice_attested") rig.fixture.clock.nowMs += 60_001;
    };
    const { failed, kinds } = await runSlice(SOLE);
    expect(failed).toMatchObject({ code: "TEE_DOCUMENT_STALE", executing: false });
    expect(kinds).toEqual(["slice_attested", "failed"]);
  });

  test("[RT-2] evidence grown old with the last batch that is read: the enclave gets neither order nor keys", async () => {
    let read = 0;
    rig.hooks.reading = () => {
      read += 1;
      if (read === 2) rig.fixture.clock.nowMs += 60_001;
    };
    const { failed, last } = await runSlice(SOLE);
    expect(failed).toMatchObject({ code: "TEE_DOCUMENT_STALE", executing: true });
    expect({ read, last }).toEqual({ read: 2, last: "attest" });
  });

  test("[RT-2] evidence grown old while its enclave ran ends nothing", async () => {
    rig.hooks.answered = ({ method }) => {
      if (method === "run") rig.fixture.clock.nowMs += 60_001;
    };
    const { failed, kinds } = await runSlice(SOLE);
    expect(failed).toBeUndefined();
    expect(kinds).toContain("slice_result");
  });
});

describe("governance newer than the work's", () => {
  const during = (decision: Decision) => {
    rig.hooks.posted = async ({ kind }) => {
      if (kind === "slice_attested") expect(await rig.govern(decision)).toBeNull();
    };
  };

  test.for<{ title: string; decision: Decision }>([
    { title: "a platform", decision: { type: "platform_revoked", module_id: "i-0000000a" } },
    { title: "a measurement", decision: { type: "measurement_revoked", pcr0: "ab".repeat(48) } },
    { title: "an actor", decision: { type: "actor_suspended", actor_id: "vault-2" } },
  ])(
    "[TT-5] that withdraws $title of others orders nothing under the older",
    async ({ decision }) => {
      during(decision);
      const { failed } = await runSlice(SOLE);
      expect(failed).toMatchObject({ code: "PROOF_CONSISTENCY_INVALID", executing: false });
      expect(await executions()).toBe(0);
    },
  );

  test("[TT-5] that withdraws nothing ends nothing", async () => {
    const digest = new Uint8Array(32);
    const artifact = { digest, kind: "model", description: "" } as const;
    during({ type: "artifact_registered", artifact });
    const { failed, kinds } = await runSlice(SOLE);
    expect(failed).toBeUndefined();
    expect(kinds).toContain("slice_result");
  });
});
