import { EXIT } from "#cli";
import { identifier, usageScope } from "#protocol";
import { z } from "zod";

import { readRequestFile } from "../request-reader.ts";
import type { VaultCall, VaultCommand, VaultOption } from "./command.ts";

const MICRO = 1_000_000;

const ledgerLine = z.looseObject({
  position: z.number(),
  kind: z.string(),
  task_id: z.string(),
  record_scope: z.string(),
  usage_scope: z.string(),
  epsilon_micro: z.number(),
  at_ms: z.number(),
  flagged: z.boolean(),
});

const subjectAnswer = z.looseObject({
  balances: z.array(
    z.looseObject({
      usage_scope: z.string(),
      consumed_micro: z.number(),
      reserved_micro: z.number(),
    }),
  ),
  lines: z.array(
    z.looseObject({
      position: z.number(),
      state: z.string(),
      task_id: z.string(),
      record_scope: z.string(),
      usage_scope: z.string(),
      reserved_micro: z.number(),
      consumed_micro: z.number(),
      reserved_ms: z.number(),
      flagged: z.boolean(),
    }),
  ),
  next: z.number().nullable(),
});

const declineLine = z.looseObject({
  position: z.number(),
  task_id: z.string(),
  actor_id: z.string(),
  record_scope: z.string(),
  usage_scope: z.string(),
  epsilon_micro: z.number(),
  reason: z.string(),
  subjects: z.number(),
  exhausted: z.number(),
  frozen: z.number(),
  at_ms: z.number(),
});

const dryRunAnswer = z.looseObject({
  outcome: z.enum(["admitted", "declined", "refused"]),
  code: z.string().nullable(),
  reason: z.string().nullable(),
  message: z.string().nullable(),
  cost: z
    .looseObject({
      price_micro: z.number(),
      charged_micro: z.number(),
      allowance_micro: z.number(),
      subjects: z.number(),
      exhausted: z.number(),
      frozen: z.number(),
    })
    .nullable(),
});

const PAGE: Readonly<Record<string, VaultOption>> = {
  after: { value: "POSITION", summary: "begin after this line (default 0)" },
  limit: { value: "COUNT", summary: "at most so many, up to 1000 (default 100)" },
};

/** The privacy budget. */
export const LEDGER_COMMANDS: readonly VaultCommand[] = [
  {
    name: "statement",
    summary: "what consumed the privacy budget, by purpose, record scope or subject",
    help: `Lists the ledger, oldest first: which task reserved, executed, committed or gave back how much epsilon. With
--subject it lists what each task took of that one subject's budget; the name is hashed inside the Vault and kept nowhere.`,
    options: {
      purpose: { value: "PURPOSE", summary: `only of ${usageScope.options.join(", ")}` },
      scope: { value: "SCOPE", summary: "only of this record scope" },
      subject: { value: "NAME", summary: "of one subject, by its value in your own records" },
      ...PAGE,
    },
    run: async (call) => {
      const subject = call.optional("subject");
      return subject === undefined ? showLedger(call) : showSubject(call, subject);
    },
  },
  {
    name: "declines",
    summary: "why requests were declined, which submitters are not told",
    help: `Lists declined requests with their reason: grant_missing, record_unknown, consent_missing, too_few_subjects,
too_many_records, budget_exhausted, budget_frozen or record_scope_exhausted; and how many of the subjects that would have
been charged lack budget or are frozen.`,
    options: PAGE,
    run: async (call) => {
      const client = await call.client();
      const answer = await client.get("/v1/vault/ledger/declines", pageOf(call));
      const lines = z.array(declineLine).parse(answer);
      return call.show(answer, table(lines.map(declineText)));
    },
  },
  {
    name: "dry-run",
    summary: "what a request would cost and whether it would be admitted; costs nothing",
    help: `Judges the task in REQUEST, YAML or JSON, as if ACTOR had just sent it: its price, whom it would charge, whether it would be
admitted and why not. Nothing is reserved and nothing is written. Exit code 0 when it would be admitted, 1 when not.`,
    words: ["REQUEST"],
    options: { actor: { value: "ID", summary: "who would send it", required: true } },
    run: async (call) => {
      const request = await readRequestFile(call.words[0] ?? "");
      const actor_id = identifier.parse(call.required("actor"));
      const client = await call.client();
      const answer = await client.post("/v1/vault/ledger/dry-run", { actor_id, request });
      const found = dryRunAnswer.parse(answer);
      call.show(answer, dryRunText(found));
      return found.outcome === "admitted" ? EXIT.ok : EXIT.refused;
    },
  },
];

async function showLedger(call: VaultCall): Promise<number> {
  const answer = await (
    await call.client()
  ).get("/v1/vault/ledger", {
    ...pageOf(call),
    usage_scope: call.choice("purpose", usageScope.options),
    record_scope: call.optional("scope"),
  });
  const lines = z.array(ledgerLine).parse(answer);
  const texts = lines.map((line) => [
    `${line.position}`,
    new Date(line.at_ms).toISOString(),
    line.kind,
    line.task_id,
    line.usage_scope,
    line.record_scope,
    `${line.epsilon_micro / MICRO}`,
    line.flagged ? "FLAGGED" : "",
  ]);
  return call.show(answer, table(texts));
}

async function showSubject(call: VaultCall, subject: string): Promise<number> {
  const body = { ...pageOf(call), subject };
  const answer = await (await call.client()).post("/v1/vault/ledger/subject", body);
  const { balances, lines, next } = subjectAnswer.parse(answer);
  const totals = balances.map(({ usage_scope, consumed_micro, reserved_micro }) => [
    usage_scope,
    `${consumed_micro / MICRO} consumed`,
    `${reserved_micro / MICRO} reserved`,
  ]);
  const texts = lines.map((line) => [
    `${line.position}`,
    new Date(line.reserved_ms).toISOString(),
    line.state,
    line.task_id,
    line.usage_scope,
    line.record_scope,
    `${line.consumed_micro / MICRO} of ${line.reserved_micro / MICRO}`,
    line.flagged ? "FLAGGED" : "",
  ]);
  const more = next === null ? "" : `\nmore: --after ${next}`;
  return call.show(answer, `${table(totals)}\n${table(texts)}${more}`);
}

function declineText(line: z.infer<typeof declineLine>): string[] {
  return [
    `${line.position}`,
    new Date(line.at_ms).toISOString(),
    line.reason,
    line.task_id,
    line.actor_id,
    line.usage_scope,
    line.record_scope,
    `${line.epsilon_micro / MICRO}`,
    `${line.subjects} subjects`,
    `${line.exhausted} exhausted`,
    `${line.frozen} frozen`,
  ];
}

function dryRunText({ outcome, code, reason, message, cost }: z.infer<typeof dryRunAnswer>) {
  const why = message ?? reason;
  const told = code === null ? "" : ` (the submitter is told ${code})`;
  const first = why === null ? outcome : `${outcome}: ${why}${told}`;
  if (cost === null) return first;
  const rows = [
    ["price", `${cost.price_micro / MICRO}`],
    ["charged", `${cost.charged_micro / MICRO}`],
    ["allowance", `${cost.allowance_micro / MICRO}`],
    ["subjects", `${cost.subjects}`],
    ["exhausted", `${cost.exhausted}`],
    ["frozen", `${cost.frozen}`],
  ];
  return `${first}\n${table(rows)}`;
}

function pageOf(call: VaultCall) {
  return { after: call.count("after"), limit: call.count("limit") };
}

/** Cells in columns. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
