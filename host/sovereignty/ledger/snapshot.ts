import { createHash, type Hash } from "node:crypto";
import * as fs from "node:fs/promises";
import path from "node:path";

import {
  MalformedError,
  consentPurpose,
  decodeCbor,
  encodeCbor,
  identifier,
  parseWith,
  unixMs,
  usageScope,
  type ConsentPurpose,
  type UsageScope,
} from "#protocol";
import { z } from "zod";

import { Consents, type HeldConsents } from "../consent/consent.ts";
import { Balances, type FrozenMembers } from "./balances.ts";
import { Ledger, type HeldLedger, type LoadSet } from "./ledger.ts";
import type { HeldPages } from "./pages.ts";
import { PAGE_ORDINALS } from "./subject-set.ts";

/*
 * A snapshot is a file of the machine that wrote it:
 *
 *   length   u32 little endian   bytes of the header
 *   header   CBOR                positions, open reservations, totals, and which pages follow in which order; what
 *                                subjects have reserved follows from the open reservations
 *   pages    bytes               each as it is in memory: 8 bytes an ordinal for amounts and times, one for a consent
 *                                state, one bit for a frozen budget
 *
 * It is only ever read under the digest that the store has of it.
 */
const HEADER_BYTES_MAX = 64 * 1024 * 1024;
const LENGTH_BYTES = 4;
const FILE_MODE = 0o600;
/** Bytes after which those written are synced: a disk that is given all of them at once keeps every commit waiting. */
const SYNC_BYTES = 8 * 1024 * 1024;

const amount = z.int().min(0);
const pageSchema = z.strictObject({
  kind: z.enum(["consumed", "frozen", "state", "expires"]),
  purpose: consentPurpose,
  page: z.int().min(0).max(0xffff),
});
const headerSchema = z.strictObject({
  version: z.literal(1),
  ledger_position: amount,
  consent_position: amount,
  open: z.array(
    z.strictObject({
      reservation_id: identifier,
      state: z.enum(["reserved", "executing"]),
      usage_scope: usageScope,
      record_scope: identifier,
      set_digest: z.string().length(64),
      reserved_micro: amount,
      expires_ms: unixMs,
      executed: z.array(z.strictObject({ round: amount, epsilon_micro: amount })),
    }),
  ),
  scopes: z.array(
    z.strictObject({
      usage_scope: usageScope,
      replenished_epoch: amount.nullable(),
      floor_micro: amount,
      record_floor_micro: amount,
      ceiling_micro: amount,
      record_scopes: z.array(
        z.strictObject({
          record_scope: z.string(),
          consumed_micro: amount,
          reserved_micro: amount,
        }),
      ),
    }),
  ),
  pages: z.array(pageSchema),
});
type Header = z.infer<typeof headerSchema>;
type PageName = z.infer<typeof pageSchema>;

/** The last entry of the ledger and the last consent event of something. Zero before the first. */
export interface Positions {
  readonly ledger: number;
  readonly consent: number;
}

/** Ledger and consents at one moment, held while they are written. */
export interface HeldBooks {
  readonly positions: Positions;
  readonly ledger: HeldLedger;
  readonly consents: ReadonlyMap<ConsentPurpose, HeldConsents>;
}

/** What a snapshot gives back. */
export interface RestoredBooks {
  readonly positions: Positions;
  readonly ledger: Ledger;
  readonly consents: Consents;
}

/**
 * Writes `held` durably to `file`, under a temporary name first, and releases it. Other work goes on between pages.
 *
 * @returns SHA-256 of the file.
 * @throws What the file system throws; then there is no such file.
 */
export async function writeSnapshot(file: string, held: HeldBooks): Promise<Uint8Array> {
  const named = pagesOf(held);
  const temporary = `${file}.tmp`;
  try {
    const header = encodeCbor(
      headerOf(
        held,
        named.map(({ name }) => name),
      ),
    );
    if (header.length > HEADER_BYTES_MAX) throw malformed("header");
    const length = new Uint8Array(LENGTH_BYTES);
    new DataView(length.buffer).setUint32(0, header.length, true);
    const digest = await writeParts(temporary, [
      () => length,
      () => header,
      ...named.map(({ bytes }) => bytes),
    ]);
    await fs.rename(temporary, file);
    await syncFolder(path.dirname(file));
    return digest;
  } catch (cause) {
    await fs.rm(temporary, { force: true });
    throw cause;
  } finally {
    for (const pages of heldPagesOf(held)) pages.release();
  }
}

/** @returns SHA-256 of all parts. Each is made when its turn comes. */
async function writeParts(file: string, parts: readonly (() => Uint8Array)[]): Promise<Uint8Array> {
  const hash = createHash("sha256");
  const handle = await fs.open(file, "w", FILE_MODE);
  try {
    let unsynced = 0;
    for (const part of parts) {
      const bytes = part();
      hash.update(bytes);
      await handle.writeFile(bytes);
      unsynced += bytes.length;
      if (unsynced < SYNC_BYTES) continue;
      await handle.datasync();
      unsynced = 0;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return hash.digest();
}

/**
 * Reads a snapshot.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED for a file that is not the one with this digest; what the file
 * system throws.
 */
export async function readSnapshot(
  file: string,
  digest: Uint8Array,
  loadSet: LoadSet,
): Promise<RestoredBooks> {
  const handle = await fs.open(file, "r");
  try {
    const hash = createHash("sha256");
    const length = await readExactly(handle, hash, new Uint8Array(LENGTH_BYTES));
    const headerBytes = new DataView(length.buffer).getUint32(0, true);
    if (headerBytes > HEADER_BYTES_MAX) throw malformed("header");
    const bytes = await readExactly(handle, hash, new Uint8Array(headerBytes));
    const header = parseWith(headerSchema, decodeCbor(bytes, HEADER_BYTES_MAX), "snapshot");
    const pages = await readPages(handle, hash, header.pages);
    if (!hash.digest().equals(digest)) throw malformed("digest");
    return await restored(header, pages, loadSet);
  } finally {
    await handle.close();
  }
}

type Numbers = Float64Array<ArrayBuffer>;
type Bytes = Uint8Array<ArrayBuffer>;

/** Pages by kind, purpose and number. */
interface PagesRead {
  readonly numbers: (kind: "consumed" | "expires", purpose: string) => Map<number, Numbers>;
  readonly frozen: (purpose: string) => Map<number, FrozenMembers>;
  readonly states: (purpose: string) => Map<number, Bytes>;
}

async function readPages(
  handle: fs.FileHandle,
  hash: Hash,
  names: readonly PageName[],
): Promise<PagesRead> {
  const numbers = new Map<string, Map<number, Numbers>>();
  const frozen = new Map<string, Map<number, FrozenMembers>>();
  const states = new Map<string, Map<number, Bytes>>();
  const read = async <Values extends Numbers | FrozenMembers | Bytes>(
    into: Map<string, Map<number, Values>>,
    { key, page }: { readonly key: string; readonly page: number },
    values: Values,
  ): Promise<void> => {
    await readExactly(handle, hash, bytesOf(values));
    into.set(key, (into.get(key) ?? new Map<number, Values>()).set(page, values));
  };
  for (const { kind, purpose, page } of names) {
    const at = { key: purpose, page };
    if (kind === "frozen") await read(frozen, at, new Uint16Array(PAGE_ORDINALS / 16));
    else if (kind === "state") await read(states, at, new Uint8Array(PAGE_ORDINALS));
    else await read(numbers, { key: `${kind} ${purpose}`, page }, new Float64Array(PAGE_ORDINALS));
  }
  return {
    numbers: (kind, purpose) => numbers.get(`${kind} ${purpose}`) ?? new Map(),
    frozen: (purpose) => frozen.get(purpose) ?? new Map(),
    states: (purpose) => states.get(purpose) ?? new Map(),
  };
}

async function readExactly(handle: fs.FileHandle, hash: Hash, into: Bytes): Promise<Bytes> {
  for (let at = 0; at < into.length;) {
    const { bytesRead } = await handle.read(into, at, into.length - at);
    if (bytesRead === 0) throw malformed("length");
    at += bytesRead;
  }
  hash.update(into);
  return into;
}

async function restored(
  header: Header,
  pages: PagesRead,
  loadSet: LoadSet,
): Promise<RestoredBooks> {
  const balances = new Map<UsageScope, Balances>();
  const replenished = new Map<UsageScope, number>();
  for (const scope of header.scopes) {
    const name = scope.usage_scope;
    if (scope.replenished_epoch !== null) replenished.set(name, scope.replenished_epoch);
    const recordScopes = scope.record_scopes.map(
      ({ record_scope, consumed_micro: consumed, reserved_micro: reserved }) =>
        [record_scope, { consumed, reserved }] as const,
    );
    const totals = {
      floorMicro: scope.floor_micro,
      recordFloorMicro: scope.record_floor_micro,
      ceilingMicro: scope.ceiling_micro,
      recordScopes: new Map(recordScopes),
    };
    const restoredPages = {
      consumed: pages.numbers("consumed", name),
      frozen: pages.frozen(name),
    };
    balances.set(name, Balances.restored(totals, restoredPages));
  }
  const open = header.open.map((each) => ({
    reservationId: each.reservation_id,
    state: each.state,
    usageScope: each.usage_scope,
    recordScope: each.record_scope,
    setDigest: each.set_digest,
    reservedMicro: each.reserved_micro,
    expiresMs: each.expires_ms,
    executed: new Map(each.executed.map(({ round, epsilon_micro }) => [round, epsilon_micro])),
    committedMicro: 0,
  }));
  const known = new Set(header.pages.map(({ kind, purpose }) => (kind === "state" ? purpose : "")));
  const purposes = consentPurpose.options
    .filter((purpose) => known.has(purpose))
    .map(
      (purpose) =>
        [
          purpose,
          { states: pages.states(purpose), expiresMs: pages.numbers("expires", purpose) },
        ] as const,
    );
  return {
    positions: { ledger: header.ledger_position, consent: header.consent_position },
    ledger: await Ledger.restored({ open, replenished, balances }, loadSet),
    consents: Consents.restored(new Map(purposes)),
  };
}

function headerOf({ positions, ledger }: HeldBooks, pages: PageName[]): Header {
  return {
    version: 1,
    ledger_position: positions.ledger,
    consent_position: positions.consent,
    open: ledger.open.map((each) => ({
      reservation_id: each.reservationId,
      state: each.state === "executing" ? "executing" : "reserved",
      usage_scope: each.usageScope,
      record_scope: each.recordScope,
      set_digest: each.setDigest,
      reserved_micro: each.reservedMicro,
      expires_ms: each.expiresMs,
      executed: Array.from(each.executed, ([round, epsilon_micro]) => ({ round, epsilon_micro })),
    })),
    scopes: Array.from(ledger.balances, ([scope, { totals }]) => ({
      usage_scope: scope,
      replenished_epoch: ledger.replenished.get(scope) ?? null,
      floor_micro: totals.floorMicro,
      record_floor_micro: totals.recordFloorMicro,
      ceiling_micro: totals.ceilingMicro,
      record_scopes: Array.from(totals.recordScopes, ([record_scope, { consumed, reserved }]) => ({
        record_scope,
        consumed_micro: consumed,
        reserved_micro: reserved,
      })),
    })),
    pages,
  };
}

/** A page of a snapshot. `bytes` are good until those of another page are asked for. */
interface NamedPage {
  readonly name: PageName;
  readonly bytes: () => Bytes;
}

function pagesOf({ ledger, consents }: HeldBooks): NamedPage[] {
  const into = new Float64Array(PAGE_ORDINALS);
  const of = <Values extends Numbers | FrozenMembers | Bytes>(
    kind: PageName["kind"],
    purpose: ConsentPurpose,
    held: HeldPages<Values>,
  ): NamedPage[] =>
    Array.from(held.pages, ([page, values]) => ({
      name: { kind, purpose, page },
      bytes: () => bytesOf(values),
    }));
  return [
    ...Array.from(ledger.balances, ([purpose, { consumed, frozen }]) => [
      ...consumed.pages.map((page) => ({
        name: { kind: "consumed" as const, purpose, page },
        bytes: () => bytesOf(consumed.valuesOf(page, into)),
      })),
      ...of("frozen", purpose, frozen),
    ]),
    ...Array.from(consents, ([purpose, { states, expiresMs }]) => [
      ...of("state", purpose, states),
      ...of("expires", purpose, expiresMs),
    ]),
  ].flat();
}

function heldPagesOf({ ledger, consents }: HeldBooks): { release(): void }[] {
  return [
    ...[...ledger.balances.values()].flatMap(({ consumed, frozen }) => [consumed, frozen]),
    ...[...consents.values()].flatMap(({ states, expiresMs }) => [states, expiresMs]),
  ];
}

function bytesOf(values: Numbers | FrozenMembers | Bytes): Bytes {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function malformed(field: string): MalformedError {
  return new MalformedError(
    { code: "SCHEMA_MALFORMED", field },
    `snapshot: expected the ${field} of the file that was written, got another`,
  );
}
