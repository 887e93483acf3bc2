import * as fs from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { carryAll } from "../../../host/execution/candidate-courier.ts";
import { createGovernanceEvent } from "../../../host/governance/index.ts";
import { NodeClient } from "../../../host/http/index.ts";
import type { ShareReference } from "../../../host/sovereignty/index.ts";
import {
  ConflictError,
  LOCAL_ATTRIBUTE_CANDIDATE,
  type ErrorCode,
  type LocalAttributeCandidate,
} from "../../../protocol/index.ts";
import { startCoordinator, type LiveCoordinator } from "../../helpers/live-coordinator.ts";
import { exactGranularity } from "../../helpers/network-data.ts";
import { createNetwork, openedNow, type TestActor } from "../../helpers/network.ts";
import { customersWith, inEpoch, ingestIgnoring } from "../../helpers/pool-sources.ts";
import { submitterFolder, symphony } from "../../helpers/spoken.ts";
import { operate } from "../http/vault/operated.ts";
import { newFixture } from "../sovereignty/vault-fixture.ts";

const network = await createNetwork({
  genesis: (genesis) => openedNow({ ...genesis, policy: activePolicy(genesis.policy) }),
});
let live: LiveCoordinator;
let folder: string;

type Genesis = typeof network.genesis;

/** Windows of five epochs; one Vault that has a column in one of them is enough. */
function activePolicy(policy: Genesis["policy"]): Genesis["policy"] {
  const local_attributes = {
    ...{ high_activity_domains: ["customer"], minimum_vaults: 1 },
    ...{ stability_percent: 20, vault_scoped_epochs: 1 },
  };
  return { ...policy, semantics: { ...policy.semantics, local_attributes } };
}

/** Has governance end epochs until the fifth is open. */
async function fiveEpochs(): Promise<void> {
  const { client } = live;
  for (;;) {
    await live.cosign();
    const state = await client.governance(network.genesisDigest);
    if (state.epoch.epochId >= 5) return;
    if (state.epoch.boundaryRequested) continue;
    const decision = { type: "epoch_boundary_requested", reason: "a test" } as const;
    const keys = network.governanceKeys.slice(0, 2);
    const event = createGovernanceEvent({ state, decision, keys, timeMs: Date.now() });
    await client.submitGovernanceEvent(event);
  }
}

beforeAll(async () => {
  live = await startCoordinator(network);
  folder = submitterFolder(live);
  await fiveEpochs();
});

afterAll(async () => {
  await live.stop();
  for (const each of [live.folder, folder]) fs.rmSync(each, { recursive: true, force: true });
});

function vaultAt(index: number): TestActor {
  const vault = network.vaults[index];
  if (vault === undefined) throw new Error("no such vault");
  return vault;
}

function signedBy(vault: TestActor, changes: Partial<LocalAttributeCandidate> = {}): Uint8Array {
  const candidate: LocalAttributeCandidate = {
    ...{ genesis_digest: network.genesisDigest, vault_id: vault.actorId, domain_id: "customer" },
    ...{ attribute_id: "customer.height", local_id: "local-1", semantic_version: "semantics-1" },
    ...{ window: { first_epoch: 0, last_epoch: 4 }, type: "integer", noised_rows: 1_000 },
    ...{ epochs_present: 4, epsilon_micro: 100_000, signals: [], ...changes },
  };
  return LOCAL_ATTRIBUTE_CANDIDATE.sign(candidate, vault.signing);
}

test("[LA-2] what an operator lets go waits for the coordinator, goes once, and is listed for all", async () => {
  const fixture = await newFixture({ policy: activePolicy });
  const text = customersWith(400, "years.canary55", String);
  await ingestIgnoring(fixture, text, { epochId: 2, ignore: ["years.canary55"] });
  // The fixture's network has the same keys, and was opened at another time.
  const { genesisDigest } = network;
  const governance = { ...inEpoch(fixture.governance, 5), genesisDigest };
  const words = ["--scope", "customers", "--column", "years.canary55"];
  const before = await operate({ ...fixture, governance });
  const shared = await before.vault("attributes", "share", ...words, "--attribute", "years");
  expect(shared).toMatchObject({ exit: 0 });
  const shares = async (operated = before) =>
    (await operated.vault("attributes", "shares", "--scope", "customers")).out;
  const reports: unknown[] = [];
  const report = (event: unknown): void => void reports.push(event);
  const identity = { actorId: "vault-1", key: vaultAt(0).signing };
  const nobody = new NodeClient({
    ...{ url: "http://127.0.0.1:1", identity, giveUpMs: 0 },
    ...{ nowMs: Date.now, random: (bytes: number) => new Uint8Array(bytes) },
  });
  const { attributes } = fixture.vault;
  expect(await carryAll({ attributes, coordinator: nobody, report })).toBe(false);
  expect(reports).toMatchObject([{ code: "COORDINATION_UNAVAILABLE" }]);
  expect(await shares()).toContain("waiting");
  const [waiting] = await attributes.waitingShares();
  // Of epochs that another Vault chose, which are no window of the domain's.
  const odd = { attribute_id: "years", window: { first_epoch: 4, last_epoch: 4 } };
  await live.node(vaultAt(1)).candidate(signedBy(vaultAt(1), odd));
  const coordinator = live.node(vaultAt(0));
  // Taken, and the Vault died before it knew.
  await coordinator.candidate(waiting?.signed ?? new Uint8Array(0));
  const vault = await fixture.reopen();
  expect(vault.attributes.waiting()).toBe(true);
  expect(await carryAll({ attributes: vault.attributes, coordinator, report })).toBe(true);
  expect(vault.attributes.waiting()).toBe(false);
  const operated = await operate({ ...fixture, vault, governance });
  expect(await shares(operated)).toContain("taken");
  await operated.vault("attributes", "share", ...words, "--attribute", "years");
  expect(await vault.attributes.waitingShares()).toEqual([]);
  const listed = await fetch(`${live.publicUrl}/v1/governance/candidates?attribute_id=years`);
  const body = await listed.text();
  expect(JSON.parse(body)).toMatchObject({
    candidates: [{ vault_id: "vault-2" }, { vault_id: "vault-1" }],
    next: null,
  });
  expect(body).not.toContain("canary55");
  const said = await symphony("governance", "candidates", "years", "--dir", folder);
  expect(said.out).toMatch(/epochs 0 to 4 together: 1 Vaults, 33% of the active/);
  const file = path.join(folder, "promotion.json");
  fs.writeFileSync(file, JSON.stringify(PROMOTION));
  const judged = await operated.vault("attributes", "promote", file, "--dir", folder);
  expect(judged.out).not.toContain("NOT MET");
  expect(judged.exit).toBe(0);
});

const PROMOTION = {
  ...{ to: "canonical", exception: null, resolutions: [] },
  definition: {
    ...{ attribute_id: "years", domain_id: "customer", semantic_version: "next" },
    ...{ scope: "network", supersedes: null, type: "integer", scale: 0 },
    ...{ range: { min: 0, max: 500 }, directly_queryable: true, default_privacy_class: 3 },
    default_query_granularity: exactGranularity("integer"),
    privacy_impact_epsilon_micro: 1_000,
  },
};

test("[LA-2] the coordinator takes a Vault's own candidate of a window that has ended, one a column", async () => {
  const [first, second] = [vaultAt(0), vaultAt(1)];
  const coordinator = live.node(first);
  const refused = async (signed: Uint8Array): Promise<ErrorCode | null> =>
    coordinator.candidate(signed).then(
      () => null,
      (error: { readonly code: ErrorCode }) => error.code,
    );
  expect(await refused(signedBy(first))).toBeNull();
  expect(await refused(signedBy(first))).toBeNull();
  expect(await refused(signedBy(first, { noised_rows: 999 }))).toBe("COORDINATION_CONFLICT");
  expect(await refused(signedBy(second))).toBe("DERIVATION_CANDIDATE_REFUSED");
  const open = { first_epoch: 1, last_epoch: 5 };
  expect(await refused(signedBy(first, { window: open }))).toBe("DERIVATION_CANDIDATE_REFUSED");
  const long = { first_epoch: 4, last_epoch: 3 };
  expect(await refused(signedBy(first, { window: long }))).toBe("DERIVATION_CANDIDATE_REFUSED");
  const other = new Uint8Array(32);
  const elsewhere = signedBy(first, { genesis_digest: other });
  expect(await refused(elsewhere)).toBe("DERIVATION_CANDIDATE_REFUSED");
  expect(await refused(new Uint8Array(9))).toMatch(/^(PROOF|SCHEMA)_/);
  await live.node(second).candidate(signedBy(second));
  const odd = { first_epoch: 1, last_epoch: 4 };
  await coordinator.candidate(signedBy(first, { window: odd }));
  const all = await live.client.candidates("customer.height");
  expect(all.map(({ vault_id, window }) => [vault_id, window.first_epoch])).toEqual([
    ["vault-1", 0],
    ["vault-2", 0],
    ["vault-1", 1],
  ]);
  const about = { domainId: "customer", attributeId: "customer.height", exception: null };
  const regular = await live.client.candidateReport(about, { first_epoch: 0, last_epoch: 4 });
  expect(regular).toMatchObject({ vaults: ["vault-1", "vault-2"], coverage_percent: 66 });
  // It is in the log, and is none of the domain's windows.
  await expect(live.client.candidateReport(about, odd)).rejects.toMatchObject({
    code: "DERIVATION_CANDIDATE_REFUSED",
  });
});

/** What `symphony submit --dry-run` says of a query of one name, that of a Vault's own column. */
async function drySubmit(vault_ids: readonly string[], vault_attributes: readonly object[]) {
  const file = path.join(folder, "request.json");
  const operands = [{ attribute: LOCAL_ID, op: "eq", value: 1 }];
  const request = {
    ...{ record_scope: "customers", usage_scope: "marketing", vault_ids, vault_attributes },
    parameters: {
      task_class: "query",
      predicate: { operator: "AND", operands },
      audience_cap: 100,
    },
    epsilon_micro: 1_000_000,
  };
  fs.writeFileSync(file, JSON.stringify(request));
  return await symphony("submit", file, "--dry-run", "--dir", folder);
}

const LOCAL_ID = `local-${"7e".repeat(20)}`;
const OWN = {
  ...{ vault_id: "vault-1", record_scope: "customers", domain_id: "customer", local_id: LOCAL_ID },
  ...{ type: "text", scale: 0, range: null, privacy_class: 4, allowed_usage_scope: "vault_local" },
  derivation_rule: {
    ...{ rule_id: LOCAL_ID, semantic_version: "semantics-1", output_type: "integer" },
    source_attributes: [
      {
        ...{ domain_id: "customer", attribute_id: LOCAL_ID },
        ...{ cross_domain_policy: null, mediation_authority: null },
      },
    ],
    ...{ transform_type: "boolean", transform_params: { test: "present" }, output_scale: 0 },
    ...{ output_range: { min: 0, max: 1 }, privacy_impact_epsilon_micro: 300_000 },
  },
  query_granularity: exactGranularity("integer"),
};

test("[LA-3] the coordinator takes a Vault's own column in a task of that Vault alone", async () => {
  const alone = await drySubmit(["vault-1"], [OWN]);
  expect(alone).toMatchObject({ exit: 0 });
  expect(alone.out).toContain(`${LOCAL_ID}: 300000 micro-epsilon, by rule ${LOCAL_ID}`);
  for (const vaults of [["vault-2"], ["vault-1", "vault-2"]]) {
    const unknown = await drySubmit(vaults, []);
    expect(unknown).toMatchObject({ exit: 1, out: expect.stringContaining("UNRESOLVED") });
    expect(await drySubmit(vaults, [OWN])).toEqual(unknown);
  }
  const rule = { ...OWN.derivation_rule, transform_type: "passthrough", transform_params: {} };
  const raw = await drySubmit(["vault-1"], [{ ...OWN, derivation_rule: rule }]);
  expect(raw.out).toContain("semantics: DERIVATION_REGISTRY_INVALID");
});

test("[LA-2] a candidate that the coordinator refuses is not sent again until its operator says so", async () => {
  const reference = { record_scope: "customers", column_name: "a", first_epoch: 0, last_epoch: 4 };
  const ended: (ErrorCode | null)[] = [];
  const attributes = {
    waiting: () => true,
    waitingShares: () =>
      Promise.resolve(ended.length > 0 ? [] : [{ reference, signed: signedBy(vaultAt(1)) }]),
    endShare: (_: ShareReference, code: ErrorCode | null) => Promise.resolve(void ended.push(code)),
  };
  const coordinator = live.node(vaultAt(0));
  expect(await carryAll({ attributes, coordinator, report: () => undefined })).toBe(true);
  expect(ended).toEqual(["DERIVATION_CANDIDATE_REFUSED"]);
});

test("[LA-2] a candidate waits on while the coordinator, or the Vault's own store, is in trouble", async () => {
  const reference = { record_scope: "customers", column_name: "a", first_epoch: 0, last_epoch: 4 };
  const ended: unknown[] = [];
  const attributes = {
    waiting: () => true,
    waitingShares: () =>
      Promise.resolve(ended.length > 0 ? [] : [{ reference, signed: signedBy(vaultAt(0)) }]),
    endShare: () => Promise.resolve(void ended.push(reference)),
  };
  const full = new ConflictError({ code: "INTERNAL_STORE_BUSY" }, "coordinator: a full disk");
  const coordinator = { candidate: () => Promise.reject(full) };
  expect(await carryAll({ attributes, coordinator, report: () => undefined })).toBe(false);
  expect(ended).toEqual([]);
  const { vault } = await newFixture();
  expect(await vault.attributes.waitingShares()).toEqual([]);
  await vault.close();
  await expect(vault.attributes.waitingShares()).rejects.toThrow();
  expect(vault.attributes.waiting()).toBe(true);
});
