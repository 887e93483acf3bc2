import { customersWith, ingestIgnoring } from "../../../helpers/pool-sources.ts";
import type { Fixture } from "../vault-world.ts";

export const ROWS = 24;
/** Customers with a column that no attribute takes. */
export const SOURCE = customersWith(ROWS, "score", String);

/** Ingests a source as its sender does, who sends it again when there was no answer. */
export async function ingestSource(fixture: Fixture, source: string): Promise<void> {
  await ingestIgnoring(fixture, source, { epochId: 0, ignore: ["score"] });
}
