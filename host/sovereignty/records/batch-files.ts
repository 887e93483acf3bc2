import { hash } from "node:crypto";
import * as fs from "node:fs";
import path from "node:path";

import {
  BATCH_BYTES_MAX,
  UnavailableError,
  VerificationError,
  equalBytes,
  hex,
  parseBatchHeader,
  type BatchHeader,
} from "#protocol";

import { storeUnavailable } from "../../store/index.ts";
import { writeDurably } from "../custody/secrets.ts";

const SUFFIX = ".batch";
const BATCH_FILE = /^[0-9a-f]{32}\.batch$/;
const UNFINISHED_FILE = /^[0-9a-f]{32}\.batch\.tmp$/;

/** The sealed batches of a Vault: one file each, named by batch id. */
export class BatchFiles {
  readonly #folder: string;
  readonly #setAside: string;
  readonly #stateFile: string;

  /** @param directory - The Vault's. @throws UnavailableError INTERNAL_STORE_UNAVAILABLE */
  constructor(directory: string) {
    this.#folder = path.join(directory, "batches");
    this.#setAside = path.join(directory, "batches-set-aside");
    this.#stateFile = path.join(directory, "batches-state");
    this.#guarded(() => fs.mkdirSync(this.#folder, { recursive: true, mode: 0o700 }));
  }

  /** Writes a sealed batch; durable and whole, or not there. @throws UnavailableError INTERNAL_STORE_UNAVAILABLE */
  async write(batchId: Uint8Array, sealed: Uint8Array): Promise<void> {
    const file = this.#fileOf(batchId);
    const temporary = `${file}.tmp`;
    try {
      await fs.promises.writeFile(temporary, sealed, { mode: 0o600, flush: true });
      await fs.promises.rename(temporary, file);
      await this.#syncFolder();
    } catch (cause) {
      for (const left of [temporary, file]) await fs.promises.rm(left, { force: true });
      throw storeUnavailable(file, cause);
    }
  }

  /** SHA-256 of a batch's file, 32 bytes; null when there is none. @throws UnavailableError INTERNAL_STORE_UNAVAILABLE */
  async digest(batchId: Uint8Array): Promise<Uint8Array | null> {
    const bytes = await this.#bytesOf(batchId);
    return bytes === null ? null : new Uint8Array(hash("sha256", bytes, "buffer"));
  }

  /** The header that a batch's file says, unauthenticated; null when there is no such file. */
  async header(batchId: Uint8Array): Promise<BatchHeader | null> {
    const bytes = await this.#bytesOf(batchId);
    return bytes === null ? null : parseBatchHeader(bytes);
  }

  /**
   * Reads a sealed batch, as it is stored: encrypted.
   *
   * @throws {@link VerificationError} EXECUTION_INPUT_MISMATCH when the file's header has another root.
   * @throws {@link UnavailableError} INTERNAL_STORE_UNAVAILABLE
   */
  async read(batchId: Uint8Array, root: Uint8Array): Promise<Uint8Array> {
    const bytes = await this.#bytesOf(batchId);
    if (bytes === null) throw storeUnavailable(this.#fileOf(batchId), new Error("no such file"));
    if (!equalBytes(parseBatchHeader(bytes).record_root, root)) {
      throw new VerificationError(
        { code: "EXECUTION_INPUT_MISMATCH", batch_id: hex(batchId) },
        `batch ${hex(batchId)}: expected the root that was recorded at ingest, got another`,
      );
    }
    return bytes;
  }

  /** For a store that is new. @throws UnavailableError INTERNAL_STORE_UNAVAILABLE when there are batches. */
  requireNone(): void {
    const folder = this.#folder;
    this.#guarded(() => {
      const count = fs.readdirSync(folder).filter((name) => name.endsWith(SUFFIX)).length;
      if (count === 0) return;
      throw new UnavailableError(
        { code: "INTERNAL_STORE_UNAVAILABLE", file: folder, batches: count },
        `store: expected the one that knows the ${count} batches in ${folder}, got a new one`,
      );
    });
  }

  /**
   * Brings the folder to what the store says. Files that are half written are removed; batches of `kept` that were set
   * aside come back; batches that the store does not know are removed when they are `strangers: "left over"`, set aside
   * else. What is not named as a batch is left alone.
   */
  tidy(kept: readonly Uint8Array[], strangers: "left over" | "unknown"): void {
    const names = new Set(kept.map((batchId) => path.basename(this.#fileOf(batchId))));
    this.#guarded(() => {
      for (const name of this.#namesSetAside()) {
        if (names.has(name)) this.#move(name, { from: this.#setAside, to: this.#folder });
      }
      for (const name of fs.readdirSync(this.#folder)) {
        if (UNFINISHED_FILE.test(name)) fs.rmSync(path.join(this.#folder, name));
        if (!BATCH_FILE.test(name) || names.has(name)) continue;
        if (strangers === "left over") fs.rmSync(path.join(this.#folder, name));
        else this.#move(name, { from: this.#folder, to: this.#setAside });
      }
    });
  }

  /** Batches that no state of the store which was opened here knew. */
  get setAside(): number {
    return this.#guarded(() => this.#namesSetAside().length);
  }

  /** What says which state of the store the files belong to, see `folder-state.ts`; null when nothing does. */
  readState(): Uint8Array | null {
    return this.#guarded(() =>
      fs.existsSync(this.#stateFile) ? new Uint8Array(fs.readFileSync(this.#stateFile)) : null,
    );
  }

  /** Durable when this returns. */
  writeState(state: Uint8Array): void {
    this.#guarded(() => writeDurably(this.#stateFile, state));
  }

  remove(batchIds: readonly Uint8Array[]): void {
    for (const batchId of batchIds) fs.rmSync(this.#fileOf(batchId), { force: true });
  }

  /** A file that is too long for a batch is none. */
  async #bytesOf(batchId: Uint8Array): Promise<Uint8Array | null> {
    const file = this.#fileOf(batchId);
    try {
      const { size } = await fs.promises.stat(file);
      return size > BATCH_BYTES_MAX ? null : new Uint8Array(await fs.promises.readFile(file));
    } catch (cause) {
      if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null;
      throw storeUnavailable(file, cause);
    }
  }

  async #syncFolder(): Promise<void> {
    const folder = await fs.promises.open(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  #fileOf(batchId: Uint8Array): string {
    return path.join(this.#folder, `${hex(batchId)}${SUFFIX}`);
  }

  #namesSetAside(): string[] {
    if (!fs.existsSync(this.#setAside)) return [];
    return fs.readdirSync(this.#setAside).filter((name) => BATCH_FILE.test(name));
  }

  #move(name: string, { from, to }: { readonly from: string; readonly to: string }): void {
    fs.mkdirSync(to, { recursive: true, mode: 0o700 });
    fs.renameSync(path.join(from, name), path.join(to, name));
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof UnavailableError) throw cause;
      throw storeUnavailable(this.#folder, cause);
    }
  }
}
