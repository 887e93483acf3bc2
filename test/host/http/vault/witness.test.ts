import { beforeEach, expect, test } from "vitest";
import { z } from "zod";

import { EXIT } from "../../../../cli/index.ts";
import {
  WITNESS_QUESTION,
  actorLogOrigin,
  hex,
  signCheckpoint,
} from "../../../../protocol/index.ts";
import { testSeed } from "../../../helpers/network.ts";
import { freezeVault } from "../../../helpers/witnesses.ts";
import { newFixture, stocked, type Fixture } from "../../sovereignty/vault-fixture.ts";
import { symphony } from "../../../helpers/spoken.ts";
import { operate, type Operated } from "./operated.ts";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  await stocked(fixture);
  operated = await operate(fixture);
});

test("[PB-8] the operator sees how the Vault stands with its witnesses, in status too", async () => {
  expect(await operated.call("/v1/vault/witness")).toMatchObject({
    status: 200,
    body: { standing: "confirmed", frozen: null, restarts: 0, forks: [] },
  });
  expect(await operated.vault("witness")).toMatchObject({
    exit: EXIT.ok,
    out: expect.stringMatching(/^confirmed: /),
  });
  await freezeVault(fixture);
  expect(await operated.vault("witness")).toMatchObject({
    exit: EXIT.ok,
    out: expect.stringMatching(
      /^FROZEN since 20\S+, behind: .*\n {2}others hold a head of \d+ events with root [0-9a-f]{64}; this log has \d+\n {2}put the newest store back/,
    ),
  });
  const status = await operated.vault("status");
  expect(status.out).toMatch(/^witnesses {5}FROZEN since 20/m);
  expect(status.out).toMatch(/^ingests {7}0 open$/m);
  expect(status.out).toMatch(/^exhausted {5}0 sets/m);
  expect(await operated.call("/v1/vault/status")).toMatchObject({
    body: { witness: { standing: "frozen", frozen: { reason: "behind" } } },
  });
});

test("[PB-5] a thaw takes both words, and only a frozen Vault; every budget is gone after it", async () => {
  const at = "/v1/vault/witness/thaw";
  const words = { write_off: true, confirm: true };
  expect(await operated.post(at, words)).toMatchObject({
    status: 409,
    body: { code: "PRIVACY_BUDGET_STATE_CONFLICT" },
  });
  await freezeVault(fixture);
  for (const body of [{}, { write_off: true }, { confirm: true }, { ...words, confirm: false }]) {
    expect(await operated.post(at, body)).toMatchObject({ status: 400 });
  }
  expect(await operated.vault("thaw")).toMatchObject({ exit: EXIT.usage });
  expect(await operated.vault("thaw", "--write-off")).toMatchObject({ exit: EXIT.usage });
  expect(fixture.vault.witness.standing).toBe("frozen");
  expect(await operated.vault("thaw", "--write-off", "--confirm")).toMatchObject({
    exit: EXIT.ok,
    out: expect.stringMatching(/^restart 1: .*every budget is written off\n$/),
  });
  expect(fixture.vault.witness.standing).toBe("unconfirmed");
  const { budgets } = await fixture.vault.status();
  const spent = new Map(budgets.map((each) => [each.usageScope, each.consumedMaxMicro]));
  const { budgets: given } = fixture.governance.policy.privacy;
  expect(given.length).toBeGreaterThan(0);
  for (const { usage_scope, epsilon_micro } of given) {
    expect(spent.get(usage_scope)).toBeGreaterThanOrEqual(epsilon_micro);
  }
});

test("[PB-8] the doctor says that a Vault is frozen, behind which head and what to do", async () => {
  const words = ["doctor", "--vault", fixture.directory, "--json"];
  const before = await symphony(...words);
  expect(JSON.parse(before.out)).toMatchObject({
    roles: expect.arrayContaining([{ role: "vault", ready: true }]),
  });
  await freezeVault(fixture);
  const frozen = await symphony(...words);
  expect(frozen.exit).toBe(EXIT.refused);
  expect(vaultFindings(frozen.out).slice(0, 2)).toMatchObject([
    { check: "node", state: "ok" },
    {
      check: "witnesses",
      state: "missing",
      detail: expect.stringMatching(/^FROZEN since .*others hold a head of \d+ events/),
      remedy: expect.stringContaining("symphony vault thaw"),
    },
  ]);
  await operated.close();
  const gone = await symphony(...words);
  expect(gone.exit).toBe(EXIT.refused);
  expect(vaultFindings(gone.out)).toMatchObject([{ check: "node", state: "missing" }]);
});

test("[PB-8] a fork that the Vault keeps is shown with both heads, and the doctor warns of it", async () => {
  const { vault, network, governance } = fixture;
  const [, forker] = network.vaults;
  if (forker === undefined) throw new Error("expected a second Vault");
  for (const name of ["one past", "another past"]) {
    const checkpoint = signCheckpoint({
      origin: actorLogOrigin(network.genesis.network, forker.actorId),
      ...{ size: 7, root: testSeed(name), signerName: forker.actorId, key: forker.signing },
    });
    const question = {
      version: 1 as const,
      ...{ genesis_digest: governance.genesisDigest, vault_id: forker.actorId },
      ...{ checkpoint, governance_size: 0, proofs: [], restarts: [], heard: [] },
    };
    await vault.witness.cosignHead(WITNESS_QUESTION.sign(question, forker.signing), governance);
  }
  const { out } = await operated.vault("witness");
  expect(out).toContain(`PROVEN FORK of the log of ${forker.actorId}`);
  for (const name of ["one past", "another past"]) expect(out).toContain(hex(testSeed(name)));
  expect((await operated.vault("status")).out).toContain(
    `PROVEN FORK of the log of ${forker.actorId}`,
  );
  const { out: told } = await symphony("doctor", "--vault", fixture.directory, "--json");
  expect(vaultFindings(told)).toContainEqual(
    expect.objectContaining({ check: "forks", state: "warning" }),
  );
});

/** What the doctor found out about the Vault. */
function vaultFindings(out: string): unknown[] {
  const { findings } = z
    .object({ findings: z.array(z.looseObject({ role: z.string() })) })
    .parse(JSON.parse(out));
  return findings.filter(({ role }) => role === "vault");
}
