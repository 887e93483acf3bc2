import { utf8 } from "../protocol/index.ts";
import { CUSTOMER_HEADER } from "../test/host/sovereignty/vault-world.ts";

const ROWS_PER_CHUNK = 1_000;

/** Customers in comma-separated text, one subject for each row: the most that ingest can be asked for. */
export async function* generatedCsv(rows: number): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(utf8(`${CUSTOMER_HEADER}\n`));
  for (let first = 0; first < rows; first += ROWS_PER_CHUNK) {
    let text = "";
    for (let id = first; id < Math.min(rows, first + ROWS_PER_CHUNK); id += 1) {
      text += `c-${id},p${id}@example.org,${20 + (id % 50)},${id % 1000}.25,Porto,${id % 2}\n`;
    }
    yield utf8(text);
  }
}
