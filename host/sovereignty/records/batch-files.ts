import * as fs from "node:fs";
import path from "node:path";

import {
  BATCH_BYTES_MAX,
  UnavailableError,
  VerificationError,
  equalBytes,
  hex,
  parseBatchHeader,
} from "#protocol";

import { storeUnavailable } from "../../store/index.ts";
import { writeDurably } from "../custody/secrets.ts";

/** The sealed batches of a Vault: one file each, named by batch id. */
export class BatchFiles {
  readonly #folder: string;

  /** @throws UnavailableError INTERNAL_STORE_UNAVAILABLE */
  constructor(folder: string) {
    this.#folder = folder;
    this.#guarded(() => fs.mkdirSync(folder, { recursive: true, mode: 0o700 }));
  }

  /** Writes a sealed batch; durable and whole, or not there. @throws UnavailableError INTERNAL_STORE_UNAVAILABLE */
  write(batchId: Uint8Array, sealed: Uint8Array): void {
    this.#guarded(() => writeDurably(this.#fileOf(batchId), sealed));
  }

  /**
   * Reads a sealed batch, as it is stored: encrypted.
   *
   * @throws {@link VerificationError} EXECUTION_INPUT_MISMATCH when the file's header has another root.
   * @throws {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE
   */
  async read(batchId: Uint8Array, root: Uint8Array): Promise<Uint8Array> {
    const file = this.#fileOf(batchId);
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await fs.promises.readFile(file));
    } catch (cause) {
      throw storeUnavailable(file, cause);
    }
    if (bytes.length > BATCH_BYTES_MAX || !equalBytes(parseBatchHeader(bytes).record_root, root)) {
      throw new VerificationError(
        { code: "EXECUTION_INPUT_MISMATCH", batch_id: hex(batchId) },
        `batch ${hex(batchId)}: expected the root that was recorded at ingest, got another`,
      );
    }
    return bytes;
  }

  /** Removes every file but those of `kept`: what a crash or an aborted ingest left behind. */
  removeOthers(kept: readonly Uint8Array[]): void {
    const names = new Set(kept.map((batchId) => path.basename(this.#fileOf(batchId))));
    this.#guarded(() => {
      for (const name of fs.readdirSync(this.#folder)) {
        if (!names.has(name)) fs.rmSync(path.join(this.#folder, name), { force: true });
      }
    });
  }

  remove(batchIds: readonly Uint8Array[]): void {
    for (const batchId of batchIds) fs.rmSync(this.#fileOf(batchId), { force: true });
  }

  #fileOf(batchId: Uint8Array): string {
    return path.join(this.#folder, `${hex(batchId)}.batch`);
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (cause) {
      if (cause instanceof UnavailableError) throw cause;
      throw storeUnavailable(this.#folder, cause);
    }
  }
}
