import { EXIT } from "#cli";
import { z } from "zod";

import { tableText, timeText, type VaultCall, type VaultCommand } from "./command.ts";

const trailSchema = z.object({
  log: z.object({ origin: z.string(), size: z.number(), root: z.string() }),
  entries: z.array(
    z.object({
      sequence: z.number(),
      type: z.string(),
      time_ms: z.number(),
      task_id: z.string().nullable(),
      grant_id: z.string().nullable(),
      actor_id: z.string().nullable(),
      record_scope: z.string().nullable(),
      usage_scope: z.string().nullable(),
      digest: z.string(),
    }),
  ),
  next: z.number().nullable(),
});

const replaySchema = z.object({
  events: z.number(),
  decisions: z.number(),
  differences: z.number(),
  listed: z.array(
    z.object({
      sequence: z.number(),
      type: z.string(),
      task_id: z.string().nullable(),
      decided: z.string().nullable(),
      covering: z.array(z.string()),
    }),
  ),
});

/** What happened, and on whose authority. */
export const AUDIT_COMMANDS: readonly VaultCommand[] = [
  {
    name: "audit",
    summary: "events of the Vault's log, by task, grant, actor, scope, purpose, time",
    help: `Lists events of the Vault's one signed log that fit every option given, oldest first. Each has its sequence and the
digest of the signed event; --proofs adds, with --json, the proof that the log of the root printed holds it.`,
    options: {
      task: { value: "TASK", summary: "events of this task" },
      type: { value: "TYPE", summary: "such as authorization.decided, budget.committed" },
      grant: { value: "ID", summary: "what rests on this grant, and the grant itself" },
      actor: { value: "ID", summary: "of this actor's grants and tasks" },
      scope: { value: "SCOPE", summary: "of this record scope" },
      purpose: { value: "PURPOSE", summary: "for this purpose" },
      reservation: { value: "ID", summary: "of this budget reservation" },
      since: { value: "TIME", summary: "from then on, such as 2026-01-31T12:00:00Z" },
      until: { value: "TIME", summary: "before then" },
      after: { value: "SEQUENCE", summary: "continue after this event" },
      limit: { value: "N", summary: "at most so many (default 100)" },
      proofs: { value: null, summary: "with inclusion proofs" },
    },
    run: showTrail,
  },
  {
    name: "audit replay",
    summary: "recompute every authorization from the log, and say where it differs",
    help: `Reads the whole log and decides again, from its grants and revocations alone, each admission, each slice that began
and each share that was released. Exit code 1 when a decision does not follow from the log.`,
    options: {},
    run: showReplay,
  },
];

async function showTrail(call: VaultCall): Promise<number> {
  const client = await call.client();
  const answer = await client.get("/v1/vault/audit", {
    ...optionsOf(call, ["task", "type", "grant", "actor", "scope", "purpose", "reservation"]),
    since_ms: call.time("since"),
    until_ms: call.time("until"),
    after: call.count("after"),
    limit: call.count("limit"),
    proofs: call.flag("proofs") ? true : undefined,
  });
  const { log, entries, next } = trailSchema.parse(answer);
  const rows = entries.map((entry) => [
    String(entry.sequence),
    timeText(entry.time_ms),
    entry.type,
    entry.task_id ?? "-",
    entry.grant_id ?? "-",
    entry.actor_id ?? "-",
    entry.record_scope ?? "-",
    entry.usage_scope ?? "-",
    entry.digest.slice(0, 16),
  ]);
  const header = ["#", "TIME", "TYPE", "TASK", "GRANT", "ACTOR", "SCOPE", "PURPOSE", "DIGEST"];
  const head = `log of ${log.size} events, root ${log.root}`;
  const more = next === null ? "" : `\nmore: --after ${next}`;
  return call.show(answer, `${tableText(header, rows)}\n${head}${more}`);
}

async function showReplay(call: VaultCall): Promise<number> {
  const client = await call.client();
  const answer = await client.post("/v1/vault/audit/replay", {});
  const { events, decisions, differences, listed } = replaySchema.parse(answer);
  const lines = listed.map(
    ({ sequence, type, task_id, decided, covering }) =>
      `event ${sequence} ${type} of ${task_id ?? "no task"}: rests on ${decided ?? "no grant"}, ` +
      `the log gives ${covering.length === 0 ? "none" : covering.join(", ")}`,
  );
  const sum = `${decisions} authorizations in ${events} events, ${differences} of them differ`;
  call.show(answer, [...lines, sum].join("\n"));
  return differences === 0 ? EXIT.ok : EXIT.refused;
}

/** Options that are passed on as they are. */
function optionsOf(call: VaultCall, names: readonly string[]) {
  return Object.fromEntries(names.map((name) => [name, call.optional(name)]));
}
