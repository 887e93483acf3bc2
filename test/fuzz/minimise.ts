import { concat } from "../../protocol/index.ts";

const TRIES_MAX = 2000;

/** A shorter input, or one with more zeros, that `fails` all the same; within {@link TRIES_MAX} tries. */
export async function minimise(
  input: Uint8Array,
  fails: (input: Uint8Array) => Promise<boolean>,
): Promise<Uint8Array> {
  let least = input;
  let tries = 0;
  const attempt = async (candidate: Uint8Array): Promise<boolean> => {
    if (tries >= TRIES_MAX) return false;
    tries += 1;
    if (!(await fails(candidate))) return false;
    least = candidate;
    return true;
  };
  for (let size = Math.ceil(input.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < least.length && tries < TRIES_MAX;) {
      const cut = concat(least.subarray(0, at), least.subarray(at + size));
      if (!(await attempt(cut))) at += size;
    }
  }
  for (let at = 0; at < least.length && tries < TRIES_MAX; at++) {
    if (least[at] !== 0) await attempt(least.with(at, 0));
  }
  return least;
}
