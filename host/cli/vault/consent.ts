import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";

import { EXIT } from "#cli";
import { consentPurpose } from "#protocol";
import { z } from "zod";

import { tableText, timeText, type VaultCall, type VaultCommand } from "./command.ts";

const importSchema = z.object({
  rows: z.number(),
  repeated: z.number(),
  complete: z.boolean(),
  faults: z.array(
    z.object({ line: z.number(), column: z.string().nullable(), expected: z.string() }),
  ),
});

const subjectSchema = z.object({
  known: z.boolean(),
  consents: z.array(z.object({ usage_scope: z.string(), state: z.string() })),
  decisions: z.array(
    z.object({
      usage_scope: z.string(),
      state: z.string(),
      expires_ms: z.number().nullable(),
      at_ms: z.number(),
    }),
  ),
  uses: z.array(
    z.object({
      task_id: z.string(),
      record_scope: z.string(),
      usage_scope: z.string(),
      epsilon_micro: z.number(),
      at_ms: z.number(),
    }),
  ),
  next: z.object({ after_consent: z.number(), after_use: z.number() }).nullable(),
});

/** What data subjects consented to. */
export const CONSENT_COMMANDS: readonly VaultCommand[] = [
  {
    name: "consent",
    summary: "record that subjects granted or withdrew consent",
    help: `Records a decision for one purpose. It is about the subjects of the file, one a line, or without one about every
subject that the Vault knows.`,
    options: {
      purpose: { value: "PURPOSE", summary: consentPurpose.options.join(", "), required: true },
      state: { value: "STATE", summary: "granted or withdrawn", required: true },
      subjects: { value: "FILE", summary: "the subjects, one a line; without it all known ones" },
      expires: { value: "TIME", summary: "when a granted one ends, such as 2026-01-31T12:00:00Z" },
    },
    run: setConsent,
  },
  {
    name: "consent import",
    summary: "record many decisions from a CSV file",
    words: ["FILE"],
    help: `Records the decisions of a CSV file with the columns subject, purpose, state (granted or withdrawn) and expires (a
time, or nothing), in the order of its rows and in chunks of 10 000, each whole or not at all. Stops before the first
chunk with a faulty row, names the faulty rows by line, and exits 1. After an interruption, or with the faults
corrected, the same --id goes on where the import stopped; without one the command makes one and prints it.`,
    options: { id: { value: "ID", summary: "the identifier of an import that was interrupted" } },
    run: importConsents,
  },
  {
    name: "consent show",
    summary: "one subject's consents, and the tasks that used their records",
    words: ["SUBJECT"],
    help: `Says how a subject's consent stands for each purpose, lists the decisions about them and the tasks that reserved
their budget, in pages. \`symphony vault audit --task\` shows the events of a task.`,
    options: {
      "after-consent": { value: "N", summary: "continue after this decision" },
      "after-use": { value: "N", summary: "continue after this reservation" },
    },
    run: showSubject,
  },
];

async function setConsent(call: VaultCall): Promise<number> {
  const file = call.optional("subjects");
  const client = await call.client();
  const answer = await client.setConsent({
    usage_scope: call.requiredChoice("purpose", consentPurpose.options),
    state: call.requiredChoice("state", ["granted", "withdrawn"]),
    subjects: file === undefined ? "all-known" : await subjectsIn(file),
    expires_ms: call.time("expires") ?? null,
  });
  const { subjects } = z.object({ subjects: z.number() }).parse(answer);
  return call.show(answer, `${subjects} subjects: ${call.required("state")}`);
}

async function subjectsIn(file: string): Promise<string[]> {
  return (await readFile(file, "utf8")).split(/\r?\n/).filter((line) => line !== "");
}

async function importConsents(call: VaultCall): Promise<number> {
  const [file = ""] = call.words;
  const id = call.optional("id") ?? randomBytes(8).toString("hex");
  const client = await call.client();
  const body = Readable.toWeb(createReadStream(file));
  let answer: unknown;
  try {
    answer = await client.upload("/v1/vault/consent/import", {
      query: { id },
      type: "text/csv",
      body,
    });
  } catch (error) {
    call.io.stderr(
      `symphony: import ${id}: not complete; to go on, run it again with --id ${id}\n`,
    );
    throw error;
  }
  const { rows, repeated, complete, faults } = importSchema.parse(answer);
  const lines = faults.map(
    ({ line, column, expected }) =>
      `line ${line}${column === null ? "" : `, ${column}`}: expected ${expected}`,
  );
  const sum = `import ${id}: ${rows} rows recorded, ${repeated} of them before`;
  const rest = complete ? [] : [`nothing from there on is recorded; correct it, then --id ${id}`];
  call.show(answer, [...lines, sum, ...rest].join("\n"));
  return complete ? EXIT.ok : EXIT.refused;
}

async function showSubject(call: VaultCall): Promise<number> {
  const [subject = ""] = call.words;
  const client = await call.client();
  const answer = await client.post("/v1/vault/consent/subject", {
    subject,
    after_consent: call.count("after-consent"),
    after_use: call.count("after-use"),
  });
  const { known, consents, decisions, uses, next } = subjectSchema.parse(answer);
  if (!known) return call.show(answer, "no such subject");
  const parts = [
    consents.map(({ usage_scope, state }) => `${usage_scope}: ${state}`).join("\n"),
    tableText(
      ["DECIDED", "PURPOSE", "STATE", "EXPIRES"],
      decisions.map((each) => [
        ...[timeText(each.at_ms), each.usage_scope, each.state, timeText(each.expires_ms)],
      ]),
    ),
    tableText(
      ["RESERVED", "TASK", "SCOPE", "PURPOSE", "MICRO-EPSILON"],
      uses.map((each) => [
        ...[timeText(each.at_ms), each.task_id, each.record_scope, each.usage_scope],
        String(each.epsilon_micro),
      ]),
    ),
  ];
  const more =
    next === null
      ? []
      : [`more: --after-consent ${next.after_consent} --after-use ${next.after_use}`];
  return call.show(answer, [...parts, ...more].join("\n\n"));
}
