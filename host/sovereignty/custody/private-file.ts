import * as fs from "node:fs";

import { ConflictError, LimitError } from "#protocol";

/**
 * Reads a file of secrets that only its owner may read.
 *
 * @throws {@link ConflictError} SCHEMA_CONFIG_MALFORMED for another mode; {@link LimitError} SCHEMA_TOO_LARGE.
 */
export function readPrivateFile(file: string, bytesMax: number): Uint8Array {
  const handle = fs.openSync(file, "r");
  try {
    const { mode: bits, size } = fs.fstatSync(handle);
    const mode = bits % 0o1000;
    if (mode % 0o100 !== 0) {
      throw new ConflictError(
        { code: "SCHEMA_CONFIG_MALFORMED", file, mode: mode.toString(8) },
        `${file}: expected a file that only its owner can read, got mode ${mode.toString(8)}`,
      );
    }
    if (size > bytesMax) {
      throw new LimitError(
        { code: "SCHEMA_TOO_LARGE", file, max: bytesMax, actual: size },
        `${file}: expected at most ${bytesMax} bytes, got ${size}`,
      );
    }
    return new Uint8Array(fs.readFileSync(handle));
  } finally {
    fs.closeSync(handle);
  }
}

/**
 * Does `replace`, which puts another file in the place of `file` or takes it away, then overwrites what it held. In this
 * order a crash leaves the old file or the new one, whole. A disk may still keep what was overwritten: SSDs and
 * copy-on-write file systems do.
 */
export function destroyPrivateFile(file: string, replace: () => void): void {
  const handle = fs.openSync(file, "r+");
  try {
    replace();
    fs.writeSync(handle, new Uint8Array(fs.fstatSync(handle).size), 0, undefined, 0);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}
