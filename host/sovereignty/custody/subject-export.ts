import {
  RefusedError,
  base64,
  consentPurpose,
  hex,
  recordAt,
  type AttributeValue,
  type OpenedBatch,
} from "#protocol";

import { subjectStatement } from "../ledger/statements.ts";
import { subjectSetOf } from "../ledger/subject-set.ts";
import { batchAfter, lastPosition, ordinalOf } from "../queries.ts";
import { columnNames } from "../local/kept.ts";
import type { VaultContext } from "../vault-context.ts";
import { openStored } from "./batch-rewrite.ts";
import { batchesWith, rowsOf } from "./erasure.ts";

const COMMITMENT_BYTES = 32;
const STATEMENT_LINES = 100;

/** One line of what the Vault holds of a subject. The last has type `end`: without it the export is not whole. */
export type SubjectLine = Readonly<Record<string, unknown>> & {
  readonly type: "record" | "consent" | "balance" | "task" | "end";
};

/**
 * Everything that the Vault holds of one subject, for its operator: records with their attributes, consents, what is
 * spent of each budget, and which tasks took of it. Decimals are text, bytes are base64. Holds one batch in memory.
 *
 * An event `subject.exported` is durable before the first line; it names the subject by a keyed commitment.
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED for a subject that the Vault does not know; TEE_KMS_REFUSED when
 * key custody releases to enclaves only.
 */
export async function* exportSubject(
  context: VaultContext,
  subject: string,
): AsyncGenerator<SubjectLine> {
  const { store, secrets, log, books, nowMs } = context;
  const ordinal = await ordinalOf(store.db, secrets.subjectId(subject));
  if (ordinal === undefined) throw unknown();
  const commitment = secrets.subjectSetCommitment(subjectSetOf([ordinal]).encoded);
  await store.write((trx) =>
    log.append(trx, { type: "subject.exported", taskId: null, body: { subject: commitment } }),
  );
  let records = 0;
  for await (const line of recordLines(context, ordinal)) {
    records += 1;
    yield line;
  }
  for (const purpose of consentPurpose.options) {
    const state = books.consents.stateOf(purpose, ordinal, nowMs());
    if (state !== "none") yield { type: "consent", purpose, state };
  }
  yield* budgetLines(context, subject);
  yield { type: "end", records };
}

async function* recordLines(context: VaultContext, ordinal: number): AsyncGenerator<SubjectLine> {
  const until = await lastPosition(context.store.db);
  const named = await columnNames(context.store.db);
  for await (const { position } of batchesWith(context, { ordinal, until })) {
    yield* await context.gate.use(() => linesOfBatch(context, { position, ordinal, named }));
  }
}

/** Read again inside the gate: the batch may have been sealed anew since it was found. */
async function linesOfBatch(
  context: VaultContext,
  args: {
    readonly position: number;
    readonly ordinal: number;
    readonly named: ReadonlyMap<string, string>;
  },
): Promise<SubjectLine[]> {
  const { position, ordinal, named } = args;
  const at = { after: position - 1, until: position, published: true };
  const batch = await batchAfter(context.store.db, at);
  if (batch === undefined) return [];
  const opened = await openStored(context, batch);
  return rowsOf(batch, ordinal).map((row) => ({
    type: "record",
    record_scope: batch.record_scope,
    commitment: hex(
      batch.commitments.subarray(row * COMMITMENT_BYTES, (row + 1) * COMMITMENT_BYTES),
    ),
    attributes: attributesOf(opened, row, named),
  }));
}

/** By attribute; columns of the Vault's own by what its sources call them, unless an attribute has that name. */
function attributesOf(
  opened: OpenedBatch,
  row: number,
  named: ReadonlyMap<string, string>,
): Record<string, string | number | null> {
  const { attributes } = recordAt(opened, row);
  const { columns } = opened.header;
  const taken = new Set(columns.map(({ name }) => name));
  return Object.fromEntries(
    columns.map(({ name, scale }) => {
      const own = named.get(name) ?? name;
      return [taken.has(own) ? name : own, plain(attributes[name] ?? null, scale)];
    }),
  );
}

function plain(value: AttributeValue, scale: number): string | number | null {
  if (value instanceof Uint8Array) return base64(value);
  if (typeof value !== "number" || scale === 0) return value;
  const digits = String(Math.abs(value)).padStart(scale + 1, "0");
  return `${value < 0 ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

async function* budgetLines(context: VaultContext, subject: string): AsyncGenerator<SubjectLine> {
  let after: number | null = 0;
  let first = true;
  while (after !== null) {
    const page = await subjectStatement(context, { subject, after, limit: STATEMENT_LINES });
    if (first) for (const balance of page.balances) yield { type: "balance", ...balance };
    for (const line of page.lines) yield { type: "task", ...line };
    first = false;
    after = page.next;
  }
}

function unknown(): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_UNRESOLVED", field: "subject" },
    "subject: expected one that this Vault knows",
  );
}
