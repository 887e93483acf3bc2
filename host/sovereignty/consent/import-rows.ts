import { MalformedError, consentPurpose, unixMs, type ConsentPurpose } from "#protocol";

import type { Cell, RowSource, SourceRow } from "../records/source.ts";
import type { ConsentDecision } from "./consent.ts";

/** Longest subject, in UTF-16 units; as one of `setConsent`. */
const SUBJECT_MAX = 1024;
/** With a time zone, so that it means the same everywhere. */
const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})$/;

/** The columns of an import, in any order. */
export const IMPORT_COLUMNS = ["subject", "purpose", "state", "expires"] as const;
type Column = (typeof IMPORT_COLUMNS)[number];

/** One decision of one subject. */
export interface ConsentRow {
  readonly subject: string;
  readonly usageScope: ConsentPurpose;
  readonly decision: ConsentDecision;
}

/** What is wrong with a row; never its value. */
export interface ConsentRowFault {
  readonly line: number;
  readonly column: string | null;
  readonly expected: string;
}

/** Reads rows of a source whose columns are {@link IMPORT_COLUMNS}. @throws MalformedError SCHEMA_UNKNOWN_COLUMN */
export function rowReader(source: RowSource): (row: SourceRow) => ConsentRow | ConsentRowFault {
  const at = columnsOf(source.columns);
  return (row) => {
    if ("fault" in row) return { line: row.line, ...row.fault };
    const cell = (column: Column): string => textOf(row.cells[at[column]] ?? null);
    const fault = (column: Column, expected: string) => ({ line: row.line, column, expected });
    if (row.cells.length !== source.columns.length) {
      return { line: row.line, column: null, expected: `${source.columns.length} cells` };
    }
    const subject = cell("subject").trim();
    if (subject === "" || subject.length > SUBJECT_MAX) {
      return fault("subject", `1 to ${SUBJECT_MAX} characters`);
    }
    const purpose = consentPurpose.safeParse(cell("purpose"));
    if (!purpose.success) return fault("purpose", `one of ${consentPurpose.options.join(", ")}`);
    const decision = decisionOf(cell("state"), cell("expires"));
    if (typeof decision === "string") return fault(decision, EXPECTED[decision]);
    return { subject, usageScope: purpose.data, decision };
  };
}

const EXPECTED = {
  state: "granted or withdrawn",
  expires: "nothing or, for granted, a time such as 2026-01-31T12:00:00Z",
} as const;

/** The decision, or the column at fault. */
function decisionOf(state: string, expires: string): ConsentDecision | keyof typeof EXPECTED {
  if (state === "withdrawn") return expires === "" ? { state } : "expires";
  if (state !== "granted") return "state";
  if (expires === "") return { state, expiresMs: null };
  const expiresMs = ISO_TIME.test(expires) ? Date.parse(expires) : Number.NaN;
  return unixMs.safeParse(expiresMs).success ? { state, expiresMs } : "expires";
}

function columnsOf(columns: readonly string[]): Readonly<Record<Column, number>> {
  const known = new Set<string>(IMPORT_COLUMNS);
  const stranger = columns.find((name, index) => !known.has(name) || columns.indexOf(name) < index);
  if (stranger !== undefined) throw unknownColumn(stranger, "each column once and no other");
  const [subject, purpose, state, expires] = IMPORT_COLUMNS.map((name) => {
    const index = columns.indexOf(name);
    if (index === -1) throw unknownColumn(name, "a column of this name");
    return index;
  });
  return { subject: subject ?? 0, purpose: purpose ?? 0, state: state ?? 0, expires: expires ?? 0 };
}

function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : "";
}

function unknownColumn(column: string, expected: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_UNKNOWN_COLUMN", column: column.slice(0, 64) },
    `header: expected ${expected}, of ${IMPORT_COLUMNS.join(", ")}`,
  );
}
