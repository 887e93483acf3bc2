import * as fs from "node:fs";
import path from "node:path";

import { afterEach, expect, test } from "vitest";
import { z } from "zod";

import { planAdmission } from "../../../../host/admission/plan.ts";
import { judgeCriteria } from "../../../../host/settlement/criteria.ts";
import {
  EXECUTION_RESULT_BUNDLE,
  SEALED_OUTCOME,
  SymphonyError,
  TASK_ENVELOPE,
  parseCose,
  vaultAttributeSchema,
  type TaskParameters,
  type TaskRequest,
  type VaultAttribute,
} from "../../../../protocol/index.ts";
import { openResult } from "../../../helpers/enclave-round.ts";
import { exactGranularity } from "../../../helpers/network-data.ts";
import { deliveryKey } from "../../../helpers/network-task.ts";
import { testSeed } from "../../../helpers/network.ts";
import { customersWith } from "../../../helpers/pool-sources.ts";
import { startNodeRig, type NodeRig } from "../../../helpers/vault-node-rig.ts";
import { operate, type Operated } from "../../http/vault/operated.ts";
import {
  consent,
  envelopeOf,
  grantAll,
  newFixture,
  newFolder,
  requestOf,
  reservedOf,
  type Fixture,
} from "../vault-fixture.ts";

const ROWS = 200;
const rigs: NodeRig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.stop();
});

interface Kept {
  readonly fixture: Fixture;
  readonly operated: Operated;
  readonly folder: string;
  readonly localId: string;
}

/** A Vault whose customers have a column `years`, 0 to 79 in turn, kept as the ingest says; of earlier ones, not kept. */
async function keeping(...words: readonly string[]): Promise<Kept> {
  const fixture = await newFixture({
    policy: (policy) => ({
      ...policy,
      semantics: {
        ...policy.semantics,
        local_attributes: { ...policy.semantics.local_attributes, vault_scoped_epochs: 1 },
      },
    }),
  });
  const operated = await operate(fixture);
  const folder = newFolder();
  const earlier = path.join(folder, "earlier.csv");
  fs.writeFileSync(
    earlier,
    customersWith(20, "years", () => "79"),
  );
  const before = await operated.ingest(earlier, "--scope", "customers", "--ignore", "years");
  expect(before).toMatchObject({ exit: 0 });
  const file = path.join(folder, "customers.csv");
  fs.writeFileSync(
    file,
    customersWith(ROWS, "years", (row) => String(row % 80)),
  );
  const ingested = await operated.ingest(file, "--scope", "customers", ...words);
  expect(ingested).toMatchObject({ exit: 0 });
  await consent(fixture.vault, "marketing");
  await grantAll(fixture);
  const { attributes } = await fixture.vault.attributes.list("customers", fixture.governance);
  return { fixture, operated, folder, localId: attributes[0]?.local_id ?? "" };
}

function scopedFile({ localId }: Kept, changes: Readonly<Record<string, unknown>> = {}) {
  const source = { domain_id: "customer", attribute_id: localId };
  return {
    ...{ to: "vault_scoped_query", scope: "customers", column: "years" },
    derivation_rule: {
      ...{ rule_id: localId, semantic_version: "semantics-1" },
      source_attributes: [{ ...source, cross_domain_policy: null, mediation_authority: null }],
      ...{ transform_type: "threshold", output_type: "integer", output_scale: 0 },
      transform_params: { comparison: "at_least", boundary: 40 },
      ...{ output_range: { min: 0, max: 1 }, privacy_impact_epsilon_micro: 200_000 },
    },
    query_granularity: exactGranularity("integer"),
    ...{ privacy_class: 4, allowed_usage_scope: "vault_local", operator_approves: true },
    range: { min: 0, max: 120 },
    ...changes,
  };
}

/** Promotes the column by the command line, and reads what requests are to carry. */
async function promoted(kept: Kept): Promise<VaultAttribute> {
  const file = path.join(kept.folder, "scoped.json");
  const out = path.join(kept.folder, "years.json");
  fs.writeFileSync(file, JSON.stringify(scopedFile(kept)));
  const spoken = await kept.operated.vault("attributes", "promote", file, "--apply", "--out", out);
  expect(spoken.out).not.toContain("NOT MET");
  expect(spoken.exit).toBe(0);
  return vaultAttributeSchema.parse(JSON.parse(fs.readFileSync(out, "utf8")));
}

function asking(localId: string): TaskParameters {
  return {
    task_class: "query",
    predicate: { operator: "AND", operands: [{ attribute: localId, op: "eq", value: 1 }] },
    audience_cap: 1000,
  };
}

function asked(kept: Kept, name: string, changes: Partial<TaskRequest>) {
  const alone = { vault_ids: ["vault-1"], ...changes };
  return requestOf(kept.fixture, name, alone, asking(kept.localId));
}

/** What a refusal says, whole. */
async function refusal(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return JSON.stringify([error.code, error.class, error.details, error.message]);
  }
  return "not refused";
}

const recordLine = z.object({ attributes: z.record(z.string(), z.unknown()) });

/** What a subject's export has under `years`, of each record; undefined where it was not kept. */
async function yearsOf({ vault }: Fixture, subject: string): Promise<unknown[]> {
  const years: unknown[] = [];
  for await (const line of vault.custody.exportSubject(subject)) {
    if (line.type === "record") years.push(recordLine.parse(line).attributes["years"]);
  }
  return years.toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
}

test("[LA-3] a kept column is promoted and asked of in its own Vault, which releases a noised result", async () => {
  const kept = await keeping("--keep", "years=integer");
  const { fixture } = kept;
  const definition = await promoted(kept);
  const request = await asked(kept, "local", { vault_attributes: [definition] });
  const decision = await fixture.vault.decide(request.signed, fixture.governance);
  expect(reservedOf(fixture, decision).epsilon_micro).toBe(8_000_000);
  const envelope = { ...envelopeOf(fixture, request, decision), epoch_id: 0 };
  expect(envelope.derivation_rule_refs).toEqual([kept.localId]);
  const rig = startNodeRig(fixture);
  rigs.push(rig);
  await rig.perform(await rig.sliceOf(envelope));
  const posted = rig.posted.find((body) => body.kind === "slice_result");
  if (posted?.kind !== "slice_result") throw new Error(JSON.stringify(rig.posted.at(-1)));
  const bundle = EXECUTION_RESULT_BUNDLE.decode(parseCose(posted.bundle).payload);
  const task = {
    network: fixture.network,
    delivery: await deliveryKey(),
    envelopeDigest: TASK_ENVELOPE.digest(envelope),
  };
  const outcome = SEALED_OUTCOME.decode(posted.sealed);
  const { result } = await openResult(task, { bundle, outcome });
  // 40 to 79 of two rounds of 80, none of the 40 rows that remain, and none from before it was kept.
  expect(bundle.epsilon_micro).toBe(8_000_000);
  // Whoever settles it takes it of one Vault, which nothing else of this class may be.
  const { governance } = fixture;
  const round = { bundle, bundleDigest: testSeed("bundle"), orders: [], reports: [] };
  const criteria = (parameters: TaskParameters) => () =>
    judgeCriteria({ envelope: { ...envelope, parameters }, governance, anchors: [] }, [round]);
  expect(criteria(envelope.parameters)).not.toThrow();
  expect(criteria(asking("customer.subscribed"))).toThrow("several Vaults for query");
  const size = result.result.kind === "audience" ? result.result.size : -1;
  expect(Math.abs(size - 80)).toBeLessThan(30);
});

test("[LA-3] nobody but the Vault that promoted a column knows its name, and not once it is retired", async () => {
  const kept = await keeping("--keep", "years=integer");
  const { fixture, operated } = kept;
  const { governance, clock } = fixture;
  const definition = await promoted(kept);
  const never = await asked(kept, "never", { vault_attributes: [] });
  const unknown = await refusal(() => fixture.vault.decide(never.signed, governance));
  expect(unknown).toContain("DERIVATION_UNRESOLVED");
  const changed = (changes: Partial<VaultAttribute>) => [{ ...definition, ...changes }];
  const cases: readonly (readonly VaultAttribute[])[] = [
    changed({ vault_id: "vault-2" }),
    changed({ record_scope: "receipts" }),
    changed({ privacy_class: 1 }),
    changed({ range: { min: 0, max: 121 } }),
    [definition, definition],
    [definition, ...changed({ privacy_class: 1 })],
  ];
  for (const [index, attributes] of cases.entries()) {
    const { signed } = await asked(kept, `case ${index}`, { vault_attributes: [...attributes] });
    expect(await refusal(() => fixture.vault.decide(signed, governance))).toBe(unknown);
  }
  const atCoordinator = async (changes: Partial<TaskRequest>): Promise<string> => {
    const { signed } = await asked(kept, "at the coordinator", changes);
    return await refusal(() => planAdmission(signed, governance, clock.nowMs));
  };
  for (const vault_ids of [["vault-2"], ["vault-1", "vault-2"]]) {
    const none = await atCoordinator({ vault_ids, vault_attributes: [] });
    expect(none).toBe(unknown);
    expect(await atCoordinator({ vault_ids, vault_attributes: [definition] })).toBe(unknown);
  }
  const mixed: TaskParameters = {
    task_class: "query",
    predicate: {
      operator: "AND",
      operands: [
        { attribute: kept.localId, op: "eq", value: 1 },
        { attribute: "customer.age", op: "range", min: 18, max: 121 },
      ],
    },
    audience_cap: 1000,
  };
  const alone = { vault_ids: ["vault-1"], vault_attributes: [definition] };
  const { signed: both } = await requestOf(fixture, "mixed", alone, mixed);
  expect(await refusal(() => fixture.vault.decide(both, governance))).toContain("POLICY_DECLINED");
  const words = ["--scope", "customers", "--column", "years"];
  expect(await operated.vault("attributes", "retire", ...words)).toMatchObject({ exit: 0 });
  const late = await asked(kept, "late", { vault_attributes: [definition] });
  expect(await refusal(() => fixture.vault.decide(late.signed, governance))).toBe(unknown);
  expect(await operated.vault("attributes", "retire", ...words)).toMatchObject({ exit: 1 });
  const again = await operated.post("/v1/vault/attributes/vault-scoped", scopedFile(kept));
  expect(again).toMatchObject({ status: 409, body: { code: "DERIVATION_LOCAL_REFUSED" } });
  const listed = await operated.vault("attributes", "promoted", "--scope", "customers");
  expect(listed.out).toContain(kept.localId);
});

test("[LA-3] a column that is retired while a request is judged is unknown to it", async () => {
  const kept = await keeping("--keep", "years=integer");
  const { vault, governance, clock } = kept.fixture;
  const { signed } = await asked(kept, "meanwhile", { vault_attributes: [await promoted(kept)] });
  const { nowMs } = clock;
  let isFirst = true;
  const retiring: Promise<void>[] = [];
  // The Vault reads its clock once it has found the column promoted.
  Object.defineProperty(clock, "nowMs", {
    get: () => {
      if (!isFirst) return nowMs;
      isFirst = false;
      retiring.push(vault.attributes.retire({ recordScope: "customers", column: "years" }));
      return nowMs;
    },
  });
  const said = await refusal(() => vault.decide(signed, governance));
  await Promise.all(retiring);
  expect(said).toContain("DERIVATION_UNRESOLVED");
});

test("[LA-1] nothing is kept that the operator did not say, and as one type for good", async () => {
  const kept = await keeping("--ignore", "years");
  const { fixture, operated, folder } = kept;
  const refused = await operated.post("/v1/vault/attributes/vault-scoped", scopedFile(kept));
  expect(refused.body).toMatchObject({ definition: null });
  expect(JSON.stringify(refused.body)).toContain("not kept");
  const more = path.join(folder, "more.csv");
  fs.writeFileSync(more, customersWith(3, "years", String));
  const as = (type: string) => operated.ingest(more, "--scope", "customers", "--keep", type);
  expect(await as("years=text")).toMatchObject({ exit: 0 });
  expect(await as("years=integer")).toMatchObject({
    exit: 1,
    err: expect.stringContaining("DERIVATION_LOCAL_REFUSED"),
  });
  expect(await as("years=date")).toMatchObject({ exit: 2 });
  expect(await yearsOf(fixture, "c-2")).toEqual(["2", undefined, undefined]);
  await fixture.vault.custody.eraseSubject("c-2");
  expect(await yearsOf(fixture, "c-2")).toEqual([]);
  expect(await yearsOf(fixture, "c-1")).toEqual(["1", undefined, undefined]);
});
