import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import {
  LOCAL_ATTRIBUTE_CANDIDATE,
  hex,
  type GovernanceState,
  type Proposal,
} from "../../../../protocol/index.ts";
import { customersWith, inEpoch, ingestIgnoring } from "../../../helpers/pool-sources.ts";
import { operate } from "../../http/vault/operated.ts";
import { newFixture, newFolder, type Fixture } from "../vault-fixture.ts";

const ROWS = 500;
const NAMES = Array.from({ length: 9 }, (_, index) => `column${index}`);

async function withPool(): Promise<Fixture> {
  const fixture = await newFixture();
  const ignore = ["age.canary7731", ...NAMES];
  const header = ignore.join(",");
  for (const epochId of [0, 4, 5, 9, 10]) {
    const rows = epochId === 9 ? 20 : ROWS;
    const text = customersWith(rows, header, (row) => ignore.map(() => row + epochId).join(","));
    await ingestIgnoring(fixture, text, { epochId, ignore });
  }
  return fixture;
}

function asked(fixture: Fixture, changes: Partial<Asked> = {}): Asked {
  return {
    ...{ recordScope: "customers", column: "age.canary7731", attributeId: "customer.years" },
    ...{ window: null, exception: null, governance: inEpoch(fixture.governance, 10), ...changes },
  };
}
type Asked = Parameters<Fixture["vault"]["attributes"]["candidate"]>[0];

function refusal(code = "DERIVATION_CANDIDATE_REFUSED") {
  return { code };
}

/** Governance in which `customer` is a domain of five epochs. */
function highlyActive(governance: GovernanceState): GovernanceState {
  const { policy } = governance;
  const local = { ...policy.semantics.local_attributes, high_activity_domains: ["customer"] };
  const semantics = { ...policy.semantics, local_attributes: local };
  return { ...governance, policy: { ...policy, semantics } };
}

test("[LA-2] a candidate has noised counts of its window, no value and no name, and is always the same", async () => {
  const fixture = await withPool();
  const { candidate, signed } = await fixture.vault.attributes.candidate(asked(fixture));
  const { publicKey } = fixture.actor.signing;
  expect(LOCAL_ATTRIBUTE_CANDIDATE.verify(signed, publicKey)).toEqual(candidate);
  expect(candidate).toMatchObject({
    ...{ vault_id: fixture.vault.vaultId, domain_id: "customer", attribute_id: "customer.years" },
    window: { first_epoch: 0, last_epoch: 9 },
    // Twenty rows are too few to be spoken of; those of epoch 10 are of another window.
    ...{ type: "integer", epochs_present: 3, epsilon_micro: 100_000 },
    signals: [{ attribute_id: "customer.age", kind: "alias", confidence_percent: 60 }],
  });
  expect(candidate.noised_rows).not.toBe(3 * ROWS);
  expect(Math.abs(candidate.noised_rows - 3 * ROWS)).toBeLessThan(1_000);
  expect(Buffer.from(signed).includes("canary")).toBe(false);
  for (const epochId of [10, 11, 19]) {
    const governance = inEpoch(fixture.governance, epochId);
    const again = await fixture.vault.attributes.candidate(asked(fixture, { governance }));
    expect(hex(again.signed)).toBe(hex(signed));
  }
  const other = fixture.vault.attributes.candidate(asked(fixture, { attributeId: "shoe" }));
  await expect(other).rejects.toMatchObject(refusal());
  const { log } = fixture.vault;
  expect(log.size).toBeGreaterThan(0);
  const last = Buffer.from((await log.entries(log.size - 1, log.size))[0]?.event ?? []);
  expect(last.includes("local_attribute.summarized")).toBe(true);
  expect(last.includes("canary")).toBe(false);
});

test("[LA-2] no row of a scope is spoken of by more than eight candidates", async () => {
  const { vault, governance } = await withPool();
  const ask = (column: string | undefined, epochId = 10) =>
    vault.attributes.candidate({
      ...{ recordScope: "customers", column: column ?? "", attributeId: `a.${column}` },
      ...{ window: null, exception: null, governance: inEpoch(governance, epochId) },
    });
  const made = await Promise.all(NAMES.slice(0, 8).map((name) => ask(name)));
  // Columns of equal counts have noise of their own.
  expect(new Set(made.map(({ candidate }) => candidate.noised_rows)).size).toBeGreaterThan(4);
  await expect(ask(NAMES[8])).rejects.toMatchObject(refusal("POLICY_LIMIT_EXCEEDED"));
  expect((await ask(NAMES[0])).candidate).toEqual(made[0]?.candidate);
  expect((await ask(NAMES[8], 20)).candidate.window).toEqual({ first_epoch: 10, last_epoch: 19 });
});

test("[LA-2] windows have ten epochs, five in highly active domains, and have ended", async () => {
  const fixture = await withPool();
  const candidate = (args: Asked) => fixture.vault.attributes.candidate(args);
  const from = (first_epoch: number, last_epoch: number) => ({ first_epoch, last_epoch });
  const faults: Partial<Asked>[] = [
    { governance: inEpoch(fixture.governance, 9) },
    { window: from(1, 10), governance: inEpoch(fixture.governance, 20) },
    { window: from(0, 4) },
    { window: from(10, 19), governance: inEpoch(fixture.governance, 19) },
    { window: from(9, 0) },
    { governance: highlyActive(inEpoch(fixture.governance, 4)) },
    { window: from(0, 9), governance: highlyActive(inEpoch(fixture.governance, 10)) },
    { column: "column99" },
    { window: from(20, 29), governance: inEpoch(fixture.governance, 30) },
  ];
  for (const fault of faults) {
    await expect(candidate(asked(fixture, fault))).rejects.toMatchObject(refusal());
  }
  const governance = highlyActive(inEpoch(fixture.governance, 9));
  const made = await candidate(asked(fixture, { governance }));
  expect(made.candidate).toMatchObject({ window: from(0, 4), epochs_present: 2 });
});

test("[LA-2] another window takes an approved proposal that registers this very attribute", async () => {
  const fixture = await withPool();
  const candidate = (args: Asked) => fixture.vault.attributes.candidate(args);
  const id = "ab".repeat(32);
  const exception = { exception: id, window: { first_epoch: 4, last_epoch: 5 } };
  const governed = (outcome: Proposal["outcome"], attribute_id: string): GovernanceState => {
    const { semantics } = fixture.governance;
    const attributes = semantics.attributes
      .slice(0, 1)
      .map((each) => ({ ...each, domain_id: "customer", attribute_id }));
    const registration = {
      ...{ semantic_version: "next", predecessor_version: semantics.semantic_version },
      ...{ attributes, domains: [], query_attributes: [], derivation_rules: [] },
      ...{ record_scopes: [], transitions: [], approvals: [] },
    };
    const decision = { type: "semantics_registered", registration } as const;
    const { policy } = fixture.governance;
    const electorate = { process: policy.governance.processes.semantics, weights: new Map() };
    const proposal: Proposal = {
      ...{ proposalId: id, kind: "semantics", decision, proposerId: "g", electorate, outcome },
      ...{ policyVersionId: "p", openedMs: 0, closesMs: 1, votes: new Map() },
    };
    const proposals = new Map([[id, proposal]]);
    return { ...inEpoch(fixture.governance, 10), proposals };
  };
  for (const governance of [
    inEpoch(fixture.governance, 10),
    governed("open", "customer.years"),
    governed("rejected", "customer.years"),
    governed("approved", "customer.shoes"),
  ]) {
    const tried = candidate(asked(fixture, { ...exception, governance }));
    await expect(tried).rejects.toMatchObject(refusal());
  }
  const governance = governed("approved", "customer.years");
  const made = await candidate(asked(fixture, { ...exception, governance }));
  expect(made.candidate).toMatchObject({ window: exception.window, epochs_present: 2 });
});

test("[LA-2] the operator gets a candidate over HTTP and by the command line, as a file", async () => {
  const fixture = await withPool();
  const operated = await operate({ ...fixture, governance: inEpoch(fixture.governance, 12) });
  const file = path.join(newFolder(), "candidate.cose");
  const words = ["--scope", "customers", "--column", "column1", "--attribute", "customer.size"];
  const spoken = await operated.vault("attributes", "candidates", ...words, "--out", file);
  expect(spoken).toMatchObject({ exit: 0, out: expect.stringContaining("0 to 9") });
  const answer = await operated.post("/v1/vault/attributes/candidates", {
    ...{ scope: "customers", column: "column1", attribute_id: "customer.size" },
  });
  expect(answer).toMatchObject({
    status: 200,
    body: { signed: fs.readFileSync(file).toString("hex"), epochs_present: 3 },
  });
  const refused = await operated.vault(
    "attributes",
    "candidates",
    ...words,
    "--from",
    "0",
    "--to",
    "3",
  );
  expect(refused).toMatchObject({ exit: 1, err: expect.stringContaining("window") });
});
