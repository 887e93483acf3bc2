import { expect, test } from "vitest";

import { openActorLog } from "../../../../host/evidence/actor-log.ts";
import { openCandidates } from "../../../../host/governance/index.ts";
import { candidatesOfWindow, insertCandidate } from "../../../../host/governance/queries.ts";
import { COORDINATOR_MIGRATIONS } from "../../../../host/run/coordinator-migrations.ts";
import type { CoordinatorSchema } from "../../../../host/run/coordinator-service.ts";
import { parseMapping } from "../../../../host/sovereignty/index.ts";
import { openStore } from "../../../../host/store/index.ts";
import { utf8, type DerivationRule } from "../../../../protocol/index.ts";
import { exactGranularity } from "../../../helpers/network-data.ts";
import { customersWith, inEpoch } from "../../../helpers/pool-sources.ts";
import { describePlaces } from "../../../helpers/store-places.ts";
import { bytesIn, newFixture, targetOf } from "../vault-fixture.ts";

describePlaces((places) => {
  const COLUMN = { recordScope: "customers", column: "years" };

  async function stockedWith() {
    const fixture = await newFixture({
      store: places.newPlace(),
      policy: (policy) => {
        const { local_attributes } = policy.semantics;
        const scoped = { ...local_attributes, vault_scoped_epochs: 1 };
        return { ...policy, semantics: { ...policy.semantics, local_attributes: scoped } };
      },
    });
    const keep = { years: { type: "integer" } };
    await fixture.vault.ingest({
      ...{ ...targetOf(fixture, "customers"), format: "csv", onError: "abort" },
      mapping: parseMapping(utf8(JSON.stringify({ keep }))),
      source: bytesIn(customersWith(400, "years", String)),
    });
    return { fixture, governance: inEpoch(fixture.governance, 10) };
  }

  test("[LA-3] what a Vault has promoted and retired it knows again", async () => {
    const { fixture, governance } = await stockedWith();
    const { attributes } = fixture.vault;
    const [pooled] = (await attributes.list("customers", governance)).attributes;
    const localId = pooled?.local_id ?? "";
    const source = { domain_id: "customer", attribute_id: localId };
    const rule: DerivationRule = {
      ...{ rule_id: localId, semantic_version: "semantics-1", output_type: "integer" },
      source_attributes: [{ ...source, cross_domain_policy: null, mediation_authority: null }],
      ...{ transform_type: "boolean", transform_params: { test: "nonzero" }, output_scale: 0 },
      ...{ output_range: { min: 0, max: 1 }, privacy_impact_epsilon_micro: 1 },
    };
    const asked = {
      ...{ ...COLUMN, domainId: "customer", governance },
      declared: {
        ...{ derivation_rule: rule, query_granularity: exactGranularity("integer") },
        ...{ privacy_class: 3, allowed_usage_scope: "vault_local", range: null },
        operator_approves: true,
      },
    };
    const both = await Promise.all([attributes.promote(asked), attributes.promote(asked)]);
    expect(both.map(({ definition }) => definition?.local_id)).toEqual([localId, localId]);
    const again = (await fixture.reopen()).attributes;
    expect(await again.promoted("customers")).toMatchObject([{ column: "years", retiredMs: null }]);
    await again.retire(COLUMN);
    expect(await again.promoted("customers")).toMatchObject([{ retiredMs: expect.any(Number) }]);
    await expect(again.promote(asked)).rejects.toMatchObject({ code: "DERIVATION_LOCAL_REFUSED" });
  });

  test("[LA-2] a candidate waits in the Vault's store, and is kept once in the coordinator's", async () => {
    const { fixture, governance } = await stockedWith();
    const asked = {
      ...{ ...COLUMN, attributeId: "customer.years", window: null, exception: null },
      governance,
    };
    await fixture.vault.attributes.share(asked);
    const { attributes } = await fixture.reopen();
    const store = await openStore<CoordinatorSchema>({
      at: places.newPlace(),
      migrations: COORDINATOR_MIGRATIONS,
    });
    const { actorId, signing: key } = fixture.network.coordinator;
    const nowMs = () => fixture.clock.nowMs;
    const log = await openActorLog({ store, actorId, key, origin: "symphony.test/log", nowMs });
    const candidates = openCandidates({ store, log, governance: () => governance, nowMs });
    for (const { reference, signed } of await attributes.waitingShares()) {
      await candidates.take("vault-1", signed);
      await candidates.take("vault-1", signed);
      await attributes.endShare(reference, null);
    }
    expect(await attributes.waitingShares()).toEqual([]);
    expect(await attributes.shares("customers")).toMatchObject([{ code: null }]);
    const listed = await candidates.list({ attributeId: null, after: 0, limit: 10 });
    expect(listed).toMatchObject([{ candidate: { vault_id: "vault-1", epochs_present: 1 } }]);
    expect(log.size).toBe(1);
    const about = { domainId: "customer", attributeId: "customer.years", exception: null };
    const window = { first_epoch: 0, last_epoch: 9 };
    expect(await candidates.report(about, window)).toMatchObject({ vaults: ["vault-1"] });
    await store.close();
  });

  test("[LA-2] a Vault of many candidates keeps no other out of what is looked at together", async () => {
    const store = await openStore<CoordinatorSchema>({
      at: places.newPlace(),
      migrations: COORDINATOR_MIGRATIONS,
    });
    const window = { first_epoch: 0, last_epoch: 9 };
    const row = { attribute_id: "years", domain_id: "customer", received_ms: 1, ...window };
    const bytes = { digest: new Uint8Array(32), signed: new Uint8Array(1) };
    const handedIn = ["vault-1 a", "vault-1 b", "vault-1 c", "vault-2 a", "vault-3 a"];
    await store.write(async (trx) => {
      for (const each of handedIn) {
        const [vault_id = "", local_id = ""] = each.split(" ");
        await insertCandidate(trx, { ...row, ...bytes, vault_id, local_id });
      }
    });
    const of = { attributeId: "years", window, limit: 4 };
    const rows = await candidatesOfWindow(store.db, of);
    expect(rows.map(({ vault_id, local_id }) => `${vault_id} ${local_id}`)).toEqual([
      ...["vault-1 a", "vault-2 a", "vault-3 a", "vault-1 b"],
    ]);
    await store.close();
  });
});
