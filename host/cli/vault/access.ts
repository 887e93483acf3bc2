import { taskClass, usageScope } from "#protocol";

import { grantState, revocationReason } from "../../sovereignty/index.ts";
import { tableText, timeText, type VaultCall, type VaultCommand } from "./command.ts";

/** Who may use the records, for what and when. */
export const ACCESS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "grants",
    summary: "who is allowed what, and whether it is in force",
    help: "Lists grants by identifier, with their state: in_force, not_yet, ended or revoked.",
    options: {
      actor: { value: "ID", summary: "only this actor's" },
      state: { value: "STATE", summary: `only those ${grantState.options.join(", ")}` },
      after: { value: "ID", summary: "continue after this grant" },
      limit: { value: "N", summary: "at most so many (default 100)" },
    },
    run: listGrants,
  },
  {
    name: "grant",
    summary: "allow an actor a class of tasks",
    help: `Allows an actor one class of tasks over a record scope, from a time until a time if given. Consent and budget are
asked besides, each time.`,
    options: {
      grant: { value: "ID", summary: "a new identifier for it", required: true },
      actor: { value: "ID", summary: "who is allowed", required: true },
      class: { value: "CLASS", summary: taskClass.options.join(", "), required: true },
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
      purpose: {
        value: "PURPOSE",
        summary: `${usageScope.options.join(", ")}; without it every purpose`,
      },
      from: { value: "TIME", summary: "in force from then on, such as 2026-01-31T12:00:00Z" },
      until: { value: "TIME", summary: "not in force any more from then on" },
    },
    run: async (call) => {
      const client = await call.client();
      const answer = await client.grant({
        grant_id: call.required("grant"),
        actor_id: call.required("actor"),
        task_class: call.requiredChoice("class", taskClass.options),
        record_scope: call.required("scope"),
        usage_scope: call.choice("purpose", usageScope.options) ?? null,
        not_before_ms: call.time("from") ?? null,
        not_after_ms: call.time("until") ?? null,
      });
      return call.show(answer, `${call.required("grant")}: granted`);
    },
  },
  {
    name: "revoke",
    summary: "take a grant back",
    help: `Revokes a grant: no new decision, slice or delivery rests on it from now on. The reason goes into the Vault's log.`,
    options: {
      grant: { value: "ID", summary: "the grant", required: true },
      reason: {
        value: "REASON",
        summary: `${revocationReason.options.join(", ")} (default unstated)`,
      },
    },
    run: async (call) => {
      const reason = call.choice("reason", revocationReason.options) ?? "unstated";
      const answer = await (await call.client()).revokeGrant(call.required("grant"), reason);
      return call.show(answer, `${call.required("grant")}: revoked`);
    },
  },
];

async function listGrants(call: VaultCall): Promise<number> {
  const client = await call.client();
  const answer = await client.grants({
    actor: call.optional("actor"),
    state: call.choice("state", grantState.options),
    after: call.optional("after"),
    limit: call.count("limit"),
  });
  const { grants, next } = answer;
  const rows = grants.map((grant) => [
    grant.grant_id,
    grant.revoked_reason === null ? grant.state : `${grant.state} (${grant.revoked_reason})`,
    grant.actor_id,
    grant.task_class,
    grant.record_scope ?? `all of ${grant.domain_id}`,
    grant.usage_scope ?? "every",
    timeText(grant.not_before_ms),
    timeText(grant.not_after_ms),
  ]);
  const header = ["GRANT", "STATE", "ACTOR", "CLASS", "SCOPE", "PURPOSE", "FROM", "UNTIL"];
  const more = next === null ? "" : `\nmore: --after ${next}`;
  return call.show(answer, `${tableText(header, rows)}${more}`);
}
