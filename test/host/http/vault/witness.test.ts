import { beforeEach, expect, test } from "vitest";

import { EXIT } from "../../../../host/cli/io.ts";
import { WITNESS_ANSWER, signCheckpoint } from "../../../../protocol/index.ts";
import { testSeed } from "../../../helpers/network.ts";
import { newFixture, stocked, type Fixture } from "../../sovereignty/vault-fixture.ts";
import { operate, type Operated } from "./operated.ts";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  await stocked(fixture);
  operated = await operate(fixture);
});

/** Shows the Vault a head that it signed and does not hold. */
async function freeze(): Promise<void> {
  const { vault, actor, governance, network } = fixture;
  const checkpoint = signCheckpoint({
    ...{ origin: vault.log.origin, size: vault.log.size + 5, root: testSeed("forgotten") },
    ...{ signerName: actor.actorId, key: actor.signing },
  });
  const answer = WITNESS_ANSWER.encode({ result: "held", checkpoint, restarts: [] });
  const actorId = network.vaults[1]?.actorId ?? "";
  await vault.witness.take(vault.witness.ask(governance), { actorId, answer }, governance);
}

test("[PB-8] the operator sees how the Vault stands with its witnesses, in status too", async () => {
  expect(await operated.call("/v1/vault/witness")).toMatchObject({
    status: 200,
    body: { standing: "confirmed", frozen: null, restarts: 0, forked_vaults: [] },
  });
  expect(await operated.vault("witness")).toMatchObject({
    exit: EXIT.ok,
    out: expect.stringMatching(/^confirmed\n/),
  });
  await freeze();
  expect(await operated.vault("witness")).toMatchObject({
    exit: EXIT.ok,
    out: expect.stringMatching(/^frozen: behind, others hold a head of \d+ events/),
  });
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
  await freeze();
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
