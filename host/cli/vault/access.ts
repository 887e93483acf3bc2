import { taskClass, usageScope } from "#protocol";
import { purposeOf } from "./consent.ts";
import type { VaultCommand } from "./command.ts";

/** Who may use the records, for what and when. */
export const ACCESS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "grant",
    summary: "allow an actor a class of tasks",
    help: "Allows an actor one class of tasks over a record scope. Consent and budget are asked besides, each time.",
    options: {
      grant: { value: "ID", summary: "a new identifier for it", required: true },
      actor: { value: "ID", summary: "who is allowed", required: true },
      class: { value: "CLASS", summary: taskClass.options.join(", "), required: true },
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
      purpose: {
        value: "PURPOSE",
        summary: `${usageScope.options.join(", ")}; without it every purpose`,
      },
    },
    run: async (call) => {
      const purpose = call.optional("purpose");
      const answer = await (
        await call.client()
      ).grant({
        grant_id: call.required("grant"),
        actor_id: call.required("actor"),
        task_class: call.required("class"),
        record_scope: call.required("scope"),
        usage_scope: purpose === undefined ? null : purposeOf(purpose),
        not_before_ms: null,
        not_after_ms: null,
      });
      return call.show(answer, JSON.stringify(answer, null, 2));
    },
  },
  {
    name: "revoke",
    summary: "take a grant back",
    help: "Revokes a grant: no new decision, slice or delivery rests on it from now on.",
    options: { grant: { value: "ID", summary: "the grant", required: true } },
    run: async (call) => {
      const answer = await (await call.client()).revokeGrant(call.required("grant"));
      return call.show(answer, JSON.stringify(answer, null, 2));
    },
  },
];
