import { utf8 } from "../protocol/index.ts";
import { CUSTOMER_HEADER } from "../test/host/sovereignty/vault-world.ts";

const ROWS_PER_CHUNK = 1_000;
/** Digits of a row's number that are the same in a whole chunk; three more tell its rows apart. */
const CHUNK_DIGITS = 5;
const ZERO = 0x30;

/**
 * Customers in comma-separated text, one subject for each row: the most that ingest can be asked for. Costs next to
 * nothing, so that who measures an ingest does not measure this.
 *
 * @param rows - A multiple of 1 000, at most 100 000 000.
 */
export async function* generatedCsv(rows: number): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(utf8(`${CUSTOMER_HEADER}\n`));
  const { bytes: template, places } = chunkOfZeros();
  for (let chunk = 0; chunk < rows / ROWS_PER_CHUNK; chunk += 1) {
    const bytes = template.slice();
    for (const place of places) {
      let left = chunk;
      for (let at = place + CHUNK_DIGITS - 1; at >= place; at -= 1) {
        bytes[at] = ZERO + (left % 10);
        left = Math.floor(left / 10);
      }
    }
    yield bytes;
  }
}

/** The rows of the first chunk, and where in them the number of their chunk stands. */
function chunkOfZeros(): { readonly bytes: Uint8Array; readonly places: readonly number[] } {
  const zeros = "0".repeat(CHUNK_DIGITS);
  const places: number[] = [];
  let text = "";
  for (let id = 0; id < ROWS_PER_CHUNK; id += 1) {
    const number = `${zeros}${String(id).padStart(3, "0")}`;
    places.push(text.length + "c-".length, text.length + `c-${number},p`.length);
    text += `c-${number},p${number}@example.org,${20 + (id % 50)},${id}.25,Porto,${id % 2}\n`;
  }
  return { bytes: utf8(text), places };
}
