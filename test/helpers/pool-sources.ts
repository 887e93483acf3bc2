import { parseMapping } from "../../host/sovereignty/index.ts";
import { utf8, type GovernanceState } from "../../protocol/index.ts";
import {
  CUSTOMER_HEADER,
  bytesIn,
  targetOf,
  type Fixture,
} from "../host/sovereignty/vault-world.ts";

/** Customers with further columns, which no attribute takes. */
export function customersWith(
  rows: number,
  header: string,
  cells: (row: number) => string,
): string {
  const lines = Array.from(
    { length: rows },
    (_, row) => `c-${row},${header.length}-${row}@x.test,30,10.5,Porto,1,${cells(row)}`,
  );
  return `${CUSTOMER_HEADER},${header}\n${lines.join("\n")}\n`;
}

/** Ingests a source of customers in an epoch, by a mapping that ignores some columns. */
export async function ingestIgnoring(
  fixture: Fixture,
  text: string,
  how: {
    readonly epochId: number;
    readonly ignore: readonly string[];
    readonly format?: "csv" | "jsonl";
  },
): Promise<void> {
  const { epochId, ignore, format = "csv" } = how;
  const mapping = parseMapping(utf8(JSON.stringify({ ignore })));
  const target = { ...targetOf(fixture, "customers"), epochId };
  const source = bytesIn(text, 777);
  await fixture.vault.ingest({ ...target, format, mapping, source, onError: "abort" });
}

/** The same governance in another epoch. */
export function inEpoch(governance: GovernanceState, epochId: number): GovernanceState {
  return { ...governance, epoch: { ...governance.epoch, epochId } };
}
