import { beforeAll, describe, expect, test } from "vitest";

import {
  GOVERNANCE_EVENT,
  GOVERNANCE_SNAPSHOT,
  GOVERNANCE_STATEMENT,
  cosignCheckpoint,
  encodeCbor,
  governanceOrigin,
  leafHash,
  merkleRoot,
  signCheckpoint,
  type CborValue,
  type GovernanceStatement,
} from "../../protocol/index.ts";
import { EnclaveSession } from "../../enclave/session.ts";
import { bootHosted, codeOf, rigEnvironment, startEnclave } from "../helpers/enclave-rig.ts";
import { openResult, runRound, runSoleTask, startRound } from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask, type TestTask } from "../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  createNetwork,
  governanceEvents,
  governanceSnapshot,
  type TestActor,
  type TestNetwork,
} from "../helpers/network.ts";
import { ADULTS } from "../helpers/sample-parameters.ts";

/**
 * Everything a host can say to its enclave about who is to be trusted: one row for each lie about governance, tried with
 * every message that carries it, and one for each field that a host would like a message to have.
 */

type Decision = GovernanceStatement["decision"];
const SUSPENDED: Decision = { type: "actor_suspended", actor_id: "coordinator" };
const REVOKED: Decision = { type: "platform_revoked", module_id: "i-0000000a" };

let network: TestNetwork;
let sole: TestTask;
let shared: TestTask;

beforeAll(async () => {
  network = await createNetwork();
  sole = await testTask(network, { parameters: ADULTS, data: customerData(["vault-1"], 20) });
  shared = await testTask(network, {
    parameters: ADULTS,
    data: customerData(["vault-1", "vault-2"], 20),
  });
});

interface Log {
  readonly genesis?: Uint8Array;
  readonly events?: readonly Uint8Array[];
  /** What the checkpoint is over; the events themselves unless given. */
  readonly covers?: readonly Uint8Array[];
  readonly origin?: string;
  readonly signer?: TestActor;
  readonly cosigners?: readonly TestActor[];
}

/** A snapshot of the network's governance, with one thing about it changed. */
function snapshot(log: Log = {}): Uint8Array {
  const { genesis = network.genesisBytes, events = [], covers = events } = log;
  const { signer = network.coordinator, cosigners = network.vaults } = log;
  let checkpoint = signCheckpoint({
    origin: log.origin ?? governanceOrigin(network.genesis.network),
    size: covers.length,
    root: merkleRoot(covers.map(leafHash)),
    signerName: signer.actorId,
    key: signer.signing,
  });
  for (const cosigner of cosigners) {
    checkpoint = cosignCheckpoint(checkpoint, {
      signerName: cosigner.actorId,
      key: cosigner.signing,
      timeSeconds: NETWORK_TIME_MS / 1000,
    });
  }
  return GOVERNANCE_SNAPSHOT.encode({ genesis, events: [...events], checkpoint });
}

/** An event approved by `approvals` of the governance keys, on top of nothing. */
function approvedBy(approvals: number): Uint8Array {
  const statement: GovernanceStatement = {
    genesis_digest: network.genesisDigest,
    sequence: 0,
    previous: new Uint8Array(32),
    time_ms: NETWORK_TIME_MS,
    decision: SUSPENDED,
  };
  const keys = network.governanceKeys.slice(0, approvals);
  return GOVERNANCE_EVENT.encode({
    approvals: keys.map((key) => GOVERNANCE_STATEMENT.sign(statement, key)),
  });
}

interface Lie {
  readonly title: string;
  readonly code: string;
  readonly make: () => Uint8Array | Promise<Uint8Array>;
}

const LIES: readonly Lie[] = [
  {
    title: "another genesis",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    make: async () =>
      governanceSnapshot(await createNetwork({ genesis: (own) => ({ ...own, network: "own" }) })),
  },
  {
    title: "a genesis with a policy of the host's own",
    code: "GOVERNANCE_GENESIS_MISMATCH",
    make: async () => {
      const lax = await createNetwork({
        policy: (policy) => ({
          ...policy,
          attestation: { ...policy.attestation, age_ms_max: 10_000_000 },
        }),
      });
      return snapshot({ genesis: lax.genesisBytes });
    },
  },
  {
    title: "an event that one key holder approved",
    code: "GOVERNANCE_QUORUM_NOT_MET",
    make: () => snapshot({ events: [approvedBy(1)] }),
  },
  {
    title: "a log forked after its first event",
    code: "GOVERNANCE_EVENT_INVALID",
    make: () => {
      const [, second] = governanceEvents(network, [SUSPENDED, REVOKED]);
      const [first] = governanceEvents(network, [REVOKED]);
      return snapshot({ events: [first, second].filter((event) => event !== undefined) });
    },
  },
  {
    title: "a log without its first event",
    code: "GOVERNANCE_EVENT_INVALID",
    make: () => snapshot({ events: governanceEvents(network, [SUSPENDED, REVOKED]).slice(1) }),
  },
  {
    title: "a log cut off under its checkpoint",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => {
      const covers = governanceEvents(network, [SUSPENDED, REVOKED]);
      return snapshot({ covers, events: covers.slice(0, 1) });
    },
  },
  {
    title: "more events than its checkpoint covers",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => {
      const events = governanceEvents(network, [SUSPENDED, REVOKED]);
      return snapshot({ events, covers: events.slice(0, 1) });
    },
  },
  {
    title: "a checkpoint over other events of the same number",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () =>
      snapshot({
        events: governanceEvents(network, [SUSPENDED]),
        covers: governanceEvents(network, [REVOKED]),
      }),
  },
  {
    title: "a checkpoint of another log",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => snapshot({ origin: governanceOrigin("other") }),
  },
  {
    title: "a checkpoint that the aggregator signed",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => snapshot({ signer: network.aggregator }),
  },
  {
    title: "a checkpoint in the coordinator's name under another key",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () =>
      snapshot({ signer: { ...network.coordinator, signing: network.submitter.signing } }),
  },
  {
    title: "a checkpoint that nobody cosigned",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => snapshot({ cosigners: [] }),
  },
  {
    title: "a checkpoint that one Vault cosigned",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => snapshot({ cosigners: network.vaults.slice(0, 1) }),
  },
  {
    title: "a checkpoint that one Vault cosigned twice",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => {
      const [first] = network.vaults;
      return snapshot({ cosigners: first === undefined ? [] : [first, first] });
    },
  },
  {
    title: "a checkpoint that a Vault and actors that are none cosigned",
    code: "PROOF_CHECKPOINT_INVALID",
    make: () => {
      const [first] = network.vaults;
      const others = [network.aggregator, network.submitter];
      return snapshot({ cosigners: first === undefined ? others : [first, ...others] });
    },
  },
  {
    title: "no snapshot at all",
    code: "SCHEMA_CBOR_MALFORMED",
    make: () => new Uint8Array(0),
  },
];

describe("governance of a host's own", () => {
  test("the honest snapshot is taken, by each message that carries one", async () => {
    const events = governanceEvents(network, [SUSPENDED, REVOKED]);
    const governance = snapshot({ events });
    expect((await runSoleTask(sole, { governance })).bundle.final).toBe(true);
    expect((await runRound(shared, { governance })).bundle.final).toBe(true);
  });

  test.for(LIES)("[XP-3][TT-1] run refuses $title with $code", async ({ code, make }) => {
    const refused = runSoleTask(sole, { governance: await make() });
    await expect(refused).rejects.toMatchObject({ method: "run", code });
  });

  test.for(LIES)("[XP-10][TT-1] begin refuses $title with $code", async ({ code, make }) => {
    const refused = runRound(shared, { governance: await make() });
    await expect(refused).rejects.toMatchObject({ method: "begin", code });
  });

  test("[TT-5] run refuses governance shorter than the order's Vault knew", async () => {
    const governance = snapshot({ events: governanceEvents(network, [SUSPENDED]) });
    const order = () => ({ governance_size: 2 });
    const refused = runSoleTask(sole, { governance, order });
    await expect(refused).rejects.toMatchObject({
      method: "run",
      code: "EXECUTION_ORDER_MISMATCH",
    });
  });

  test("[TT-5] begin takes no slice whose Vault knew more governance", async () => {
    const governance = snapshot({ events: governanceEvents(network, [SUSPENDED]) });
    const order = () => ({ governance_size: 2 });
    const refused = runRound(shared, { governance, order });
    await expect(refused).rejects.toMatchObject({
      method: "begin",
      code: "COORDINATION_QUORUM_NOT_MET",
    });
  });
});

describe("a host that repeats itself", () => {
  /** A round of which nothing was asked twice yet: its aggregator enclave, and the honest `begin`. */
  async function begun() {
    const started = await startRound(shared);
    const begin = {
      method: "begin",
      envelope: shared.envelopeBytes,
      governance: governanceSnapshot(network),
      round: 0,
      attempt: 0,
      slices: started.slices.map((slice) => slice.presentation),
      previous: null,
      artifact: null,
    } as const;
    return { aggregator: started.aggregator, begin: { ...begin, slices: [...begin.slices] } };
  }

  test("[XP-10][TT-1] begins a round once: the same documents a second time end the enclave", async () => {
    const { aggregator, begin } = await begun();
    expect(codeOf(await aggregator.call(begin))).toBe("begun");
    expect(codeOf(await aggregator.call(begin))).toBe("COORDINATION_ROLE_REFUSED");
    const finish = { method: "finish", outputs: [] } as const;
    expect(codeOf(await aggregator.call({ ...finish, outputs: [] }))).toBe(
      "COORDINATION_ROLE_REFUSED",
    );
  });

  test("[XP-10][TT-1] one slice's document counts for no other slice", async () => {
    const { aggregator, begin } = await begun();
    const [first] = begin.slices;
    const slices = begin.slices.map((slice) => ({ ...slice, peer: first?.peer ?? slice.peer }));
    expect(codeOf(await aggregator.call({ ...begin, slices }))).toBe("COORDINATION_QUORUM_NOT_MET");
  });

  test("[XP-10][TT-1] what one aggregator was shown counts for no other", async () => {
    const { begin } = await begun();
    const other = await bootHosted(startEnclave(), "aggregate", network.genesisBytes);
    expect(codeOf(await other.call(begin))).toBe("COORDINATION_QUORUM_NOT_MET");
  });
});

test("[RT-3] what simulated enclaves compute says so inside, for one Vault and for many", async () => {
  const one = await openResult(sole, await runSoleTask(sole));
  const many = await openResult(shared, await runRound(shared));
  expect([one.result.simulated, many.result.simulated]).toEqual([true, true]);
});

describe("what no message has room for", () => {
  const empty = new Uint8Array(0);
  const common = { envelope: empty, governance: empty, round: 0, attempt: 0, artifact: null };
  const slice = {
    vault_id: "vault-1",
    peer: { manifest: empty, evidence: empty },
    order: empty,
    contribution: empty,
  };
  const requests: Readonly<Record<string, Record<string, CborValue>>> = {
    boot: { method: "boot", role: "slice", genesis: empty },
    attest: { method: "attest", nonce: new Uint8Array(32) },
    run: {
      method: "run",
      ...common,
      sealed_order: empty,
      vault_id: "vault-1",
      evidence: empty,
      batch_keys: [],
      batches: [],
      aggregator: null,
      sealed_secret: null,
    },
    begin: { method: "begin", ...common, slices: [slice], previous: null },
    finish: { method: "finish", outputs: [] },
  };
  const fields = ["anchors", "policy", "genesis_digest", "now_ms", "measurements", "configuration"];

  test.for(Object.keys(requests).flatMap((method) => fields.map((field) => ({ method, field }))))(
    "[XP-3][TT-1] $method has no $field",
    async ({ method, field }) => {
      const request = requests[method] ?? {};
      const known = await answer(request);
      expect(known).not.toBe("SCHEMA_MALFORMED");
      expect(await answer({ ...request, [field]: 1 })).toBe("SCHEMA_MALFORMED");
    },
  );

  /** What a new session makes of a request: the code, or the name of the answer. */
  async function answer(request: Record<string, CborValue>): Promise<string> {
    const session = new EnclaveSession(rigEnvironment());
    const { response } = await session.handle(encodeCbor({ ...request }));
    return response.result === "failed" ? response.code : response.result;
  }

  test("[TT-1] an enclave's own anchors are in its manifest, whatever its host says", async () => {
    const enclave = await bootHosted(startEnclave(), "slice", network.genesisBytes);
    const [own] = rigEnvironment().anchors;
    expect(enclave.manifest.anchors).toMatchObject([{ platform: own?.platform }]);
  });
});
