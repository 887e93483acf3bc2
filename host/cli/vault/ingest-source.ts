import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";

import { UsageError } from "#cli";
import { LimitError } from "#protocol";

import { openParquet } from "../../adapters/parquet.ts";
import {
  IMAGE_BYTES_MAX,
  documentFrames,
  openCsv,
  type IngestDocument,
  type IngestFormat,
} from "../../sovereignty/index.ts";
import { readBoundedFile, readChunks } from "../bounded-file.ts";
import type { Extent } from "./progress.ts";

/** What `symphony ingest` reads. */
export const FILE_FORMATS = ["csv", "jsonl", "parquet", "documents"] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];

/** Most documents of a folder. */
const DOCUMENTS_MAX = 100_000;
const MANIFEST = "manifest.csv";
const IMAGES = [".png", ".jpg", ".jpeg"];

/** A source as the Vault gets it. */
export interface SentSource {
  readonly format: IngestFormat;
  readonly extent: Extent;
  /** The bytes; tells `advance` how much of `extent` has gone. The same ones each time. */
  readonly chunks: (advance: (count: number) => void) => AsyncIterable<Uint8Array>;
  /** SHA-256 of the bytes, for which all of them are read or made. */
  readonly digest: () => Promise<Uint8Array>;
  /** File names of documents, in their order. */
  readonly names: readonly string[];
  readonly close: () => Promise<void>;
}

const NOBODY = (): void => undefined;
const NOTHING_OPEN = (): Promise<void> => Promise.resolve();

/** Which columns of a Parquet file are not read, and whose the documents of a folder are. */
export interface SourceWords {
  readonly ignored: ReadonlySet<string>;
  readonly subject: string | undefined;
  readonly manifest: string | undefined;
}

/** The format of a file or folder by its name. @throws UsageError when the name does not tell */
export async function formatOf(path: string): Promise<FileFormat> {
  if ((await stat(path)).isDirectory()) return "documents";
  switch (extname(path).toLowerCase()) {
    case ".csv":
    case ".tsv":
    case ".data":
      return "csv";
    case ".jsonl":
    case ".ndjson":
      return "jsonl";
    case ".parquet":
      return "parquet";
    default:
      throw new UsageError(`${path}: expected --format, got a name that does not tell it`);
  }
}

/**
 * Opens a file or a folder to be sent. A Parquet file is read where it lies and sent as JSON Lines, so that no Vault has
 * plain data to keep while it reads here and there in it.
 *
 * @throws UsageError for what the user can put right; errors of the file's own format.
 */
export async function openSource(
  path: string,
  format: FileFormat,
  words: SourceWords,
): Promise<SentSource> {
  switch (format) {
    case "csv":
    case "jsonl":
      return await openBytes(path, format);
    case "parquet":
      return await openTable(path, words.ignored);
    case "documents":
      return await openFolder(path, words);
  }
}

async function openBytes(path: string, format: "csv" | "jsonl"): Promise<SentSource> {
  const { size } = await stat(path);
  return {
    format,
    extent: { total: size, unit: "bytes" },
    digest: () => digestOf(readChunks(path)),
    names: [],
    close: NOTHING_OPEN,
    chunks: async function* (advance) {
      for await (const chunk of readChunks(path)) {
        yield chunk;
        advance(chunk.length);
      }
    },
  };
}

async function digestOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const hash = createHash("sha256");
  for await (const chunk of chunks) hash.update(chunk);
  return new Uint8Array(hash.digest());
}

async function openTable(path: string, ignored: ReadonlySet<string>): Promise<SentSource> {
  const file = await openParquet(path, ignored);
  async function* chunks(advance: (count: number) => void): AsyncGenerator<Uint8Array> {
    for await (const rows of file.groups()) {
      yield jsonLinesOf(file.columns, rows);
      advance(rows.length);
    }
  }
  return {
    format: "jsonl",
    extent: { total: file.rows, unit: "rows" },
    digest: () => digestOf(chunks(NOBODY)),
    names: [],
    close: file.close,
    chunks,
  };
}

/** One object a line; every value is text, which loses no digit. */
function jsonLinesOf(
  columns: readonly string[],
  rows: readonly (readonly (string | null)[])[],
): Uint8Array {
  const keys = columns.map((name, index) => `${index === 0 ? "{" : ","}${JSON.stringify(name)}:`);
  const lines = rows.map((cells) => {
    const pairs = keys.map((key, index) => `${key}${JSON.stringify(cells[index] ?? null)}`);
    return `${pairs.join("")}}\n`;
  });
  return new Uint8Array(Buffer.from(lines.join("")));
}

async function openFolder(path: string, { subject, manifest }: SourceWords): Promise<SentSource> {
  const files = await readdir(path);
  const names = files.filter((name) => IMAGES.includes(extname(name).toLowerCase())).toSorted();
  if (names.length === 0) throw new UsageError(`${path}: expected PNG or JPEG images`);
  if (names.length > DOCUMENTS_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", max: DOCUMENTS_MAX },
      `${path}: expected at most ${DOCUMENTS_MAX} documents, got ${names.length}`,
    );
  }
  const listed = files.includes(MANIFEST) ? join(path, MANIFEST) : undefined;
  const subjects = await subjectsOf(names, { subject, manifest: manifest ?? listed });
  const chunks: SentSource["chunks"] = (advance) =>
    documentFrames(documentsIn(path, subjects, advance));
  return {
    format: "documents",
    extent: { total: names.length, unit: "documents" },
    digest: () => digestOf(chunks(NOBODY)),
    names,
    close: NOTHING_OPEN,
    chunks,
  };
}

/** Whose each document is: of `subject` all, or as the manifest says, which names each document once and no other. */
async function subjectsOf(
  names: readonly string[],
  { subject, manifest }: { readonly subject: string | undefined; manifest: string | undefined },
): Promise<ReadonlyMap<string, string>> {
  if (subject !== undefined) return new Map(names.map((name) => [name, subject]));
  if (manifest === undefined) {
    throw new UsageError(`--subject: expected whose documents these are, or a ${MANIFEST}`);
  }
  const listed = await readManifest(manifest);
  const unlisted = names.find((name) => !listed.has(name));
  if (unlisted !== undefined) throw new UsageError(`${manifest}: expected a line for ${unlisted}`);
  const known = new Set(names);
  const absent = [...listed.keys()].find((name) => !known.has(name));
  if (absent !== undefined) throw new UsageError(`${manifest}: expected a document ${absent}`);
  return new Map(names.map((name) => [name, listed.get(name) ?? ""]));
}

async function readManifest(path: string): Promise<Map<string, string>> {
  const { columns, rows } = await openCsv(readChunks(path));
  const file = columns.indexOf("file");
  const subject = columns.indexOf("subject");
  if (columns.length !== 2 || file < 0 || subject < 0) {
    throw new UsageError(`${path}: expected the columns file and subject`);
  }
  const listed = new Map<string, string>();
  for await (const group of rows) {
    for (const row of group) {
      const cells = "cells" in row ? row.cells : [];
      const name = cells[file];
      const whose = cells[subject];
      if (cells.length !== 2 || typeof name !== "string" || typeof whose !== "string") {
        throw new UsageError(`${path} line ${row.line}: expected a file and a subject`);
      }
      if (listed.has(name)) throw new UsageError(`${path} line ${row.line}: expected a file once`);
      listed.set(name, whose);
      if (listed.size > DOCUMENTS_MAX) {
        throw new UsageError(`${path}: expected at most ${DOCUMENTS_MAX} lines`);
      }
    }
  }
  return listed;
}

async function* documentsIn(
  folder: string,
  subjects: ReadonlyMap<string, string>,
  advance: (count: number) => void,
): AsyncGenerator<IngestDocument> {
  for (const [name, subject] of subjects) {
    const bound = { subject: "document", bytesMax: IMAGE_BYTES_MAX };
    const image = await readBoundedFile(join(folder, name), bound);
    yield { name, subject, image };
    advance(1);
  }
}
