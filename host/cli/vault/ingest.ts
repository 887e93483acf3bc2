import { basename } from "node:path";
import { parseArgs } from "node:util";

import { EXIT, UsageError, type CliIo } from "#cli";
import { utf8 } from "#protocol";

import { VaultClient, type IngestAnswer } from "../../http/vault/client.ts";
import { MAPPING_BYTES_MAX, parseMapping, type IngestMapping } from "../../sovereignty/index.ts";
import { readBoundedFile } from "../bounded-file.ts";
import { readOperator } from "../network-files.ts";
import { FILE_FORMATS, formatOf, openSource, type SentSource } from "./ingest-source.ts";
import { progressOf } from "./progress.ts";

export const INGEST_HELP = `symphony ingest FILE|FOLDER --vault DIR --scope SCOPE [...]

Puts records into a running Vault: a CSV, JSON Lines or Parquet file, or the PNG and JPEG images of a folder. Records are
sealed batch by batch and become visible all at once at the end. The same source again changes nothing.

  --vault DIR           folder of the Vault
  --scope SCOPE         registered record scope the records belong to
  --format FORMAT       csv, jsonl, parquet or documents; without it, what the name says
  --mapping FILE        mapping file (docs/ingest.md): columns, separators, values, constants
  --map COLUMN=ATTR     this column of the source is that attribute; may be repeated
  --ignore COLUMN       a column that no attribute takes; may be repeated
  --keep COLUMN=TYPE    a column that no attribute takes, whose values the Vault keeps for itself: integer, decimal:SCALE
                        or text; may be repeated
  --subject NAME        whose documents these are
  --manifest FILE       whose each document is: a CSV file of file and subject; without it manifest.csv of the folder
  --on-error CHOICE     abort (the default): a row at fault leaves nothing behind; quarantine: it is set aside
  --progress            say how far it is, also when nobody watches on a terminal
  --json                one JSON object instead of lines

Interrupted, the same command goes on where it was; symphony vault ingests lists what waits for that.
`;

const OPTIONS = {
  vault: { type: "string" },
  scope: { type: "string" },
  format: { type: "string" },
  mapping: { type: "string" },
  map: { type: "string", multiple: true },
  ignore: { type: "string", multiple: true },
  keep: { type: "string", multiple: true },
  subject: { type: "string" },
  manifest: { type: "string" },
  "on-error": { type: "string", default: "abort" },
  progress: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
} as const;

function read(argv: readonly string[]) {
  return parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
}

type Values = ReturnType<typeof read>["values"];

/** `symphony ingest`. */
export async function runIngest(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = read(argv);
  const [path] = positionals;
  if (path === undefined || positionals.length !== 1) {
    throw new UsageError("ingest: expected one file or folder");
  }
  const scope = required(values.scope, "scope");
  const onError = choice("on-error", values["on-error"], ["abort", "quarantine"]);
  const operator = new VaultClient(await readOperator(required(values.vault, "vault")));
  const mapping = await mappingOf(values);
  const format =
    values.format === undefined
      ? await formatOf(path)
      : choice("format", values.format, FILE_FORMATS);
  const source = await openSource(path, format, {
    ignored: new Set(mapping?.parsed.ignore),
    subject: values.subject,
    manifest: values.manifest,
  });
  const call = {
    scope,
    name: basename(path),
    onError,
    ...(mapping === undefined ? {} : { mapping: mapping.bytes }),
  };
  const answer = await answerOf(source, async () => {
    const known = await publishedBefore(operator, source, { scope, mapping: mapping?.bytes });
    return (
      known ??
      (await send(io, {
        isAsked: values.progress,
        source,
        ingest: (chunks, signal) =>
          operator.ingest({ ...call, format: source.format, source: chunks, signal }),
      }))
    );
  });
  if (answer === undefined) {
    io.stderr(`symphony: ${path}: interrupted; the same command goes on where it was\n`);
    return EXIT.unavailable;
  }
  io.stdout(values.json ? `${JSON.stringify(answer)}\n` : human(basename(path), answer, source));
  return EXIT.ok;
}

async function answerOf<T>(source: SentSource, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await source.close();
  }
}

/** What the Vault says of a source that it has published: reading it here costs less than sending it again. */
async function publishedBefore(
  operator: VaultClient,
  { format, digest }: SentSource,
  how: { readonly scope: string; readonly mapping: Uint8Array | undefined },
): Promise<IngestAnswer | null> {
  return await operator.published({ ...how, format, digest: await digest() });
}

/** Sends a source, with progress; undefined when the user interrupted it. */
async function send(
  io: CliIo,
  args: {
    readonly isAsked: boolean;
    readonly source: SentSource;
    readonly ingest: (
      chunks: AsyncIterable<Uint8Array>,
      signal: AbortSignal,
    ) => Promise<IngestAnswer>;
  },
): Promise<IngestAnswer | undefined> {
  const stop = new AbortController();
  const release = io.watcher?.onInterrupt(() => stop.abort());
  const progress = progressOf(io, args.source.extent, args.isAsked);
  try {
    return await args.ingest(args.source.chunks(progress.advance), stop.signal);
  } catch (error) {
    if (stop.signal.aborted) return undefined;
    throw error;
  } finally {
    progress.end();
    release?.();
  }
}

function human(name: string, answer: IngestAnswer, source: SentSource): string {
  const { records, batches, quarantined, first_quarantined: first } = answer;
  const lines = first.map(({ line, column, expected }) => {
    const place = source.names[line - 1] ?? `line ${line}`;
    return `  ${place}${column === null ? "" : `, column ${column}`}: expected ${expected}\n`;
  });
  const more = quarantined > first.length ? `  and ${quarantined - first.length} more\n` : "";
  return `${name}: ${records} records in ${batches} batches, ${quarantined} rows set aside\n${lines.join("")}${more}`;
}

/** The mapping of `--mapping`, or of `--map`, `--ignore` and `--keep`; undefined when none of them is given. */
async function mappingOf({
  mapping: file,
  map = [],
  ignore = [],
  keep = [],
}: Values): Promise<{ readonly bytes: Uint8Array; readonly parsed: IngestMapping } | undefined> {
  const isSpelled = map.length + ignore.length + keep.length > 0;
  if (file !== undefined && isSpelled) {
    throw new UsageError("--mapping: expected no --map, --ignore and --keep besides it");
  }
  if (file === undefined && !isSpelled) return undefined;
  const bytes =
    file === undefined
      ? utf8(
          JSON.stringify({
            attributes: Object.fromEntries(map.map(pairOf)),
            ignore,
            keep: Object.fromEntries(keep.map(keptOf)),
          }),
        )
      : await readBoundedFile(file, { subject: "mapping", bytesMax: MAPPING_BYTES_MAX });
  return { bytes, parsed: parseMapping(bytes) };
}

function pairOf(text: string): [string, { readonly column: string }] {
  const at = text.lastIndexOf("=");
  if (at < 1 || at === text.length - 1) {
    throw new UsageError(`--map: expected COLUMN=ATTRIBUTE, got ${text}`);
  }
  return [text.slice(at + 1), { column: text.slice(0, at) }];
}

function keptOf(text: string): [string, { readonly type: string; readonly scale: number }] {
  const [, column = "", type = "", scale = "0"] =
    /^(.+)=(integer|text|decimal(?=:))(?::([0-9]))?$/su.exec(text) ?? [];
  if (type === "" || (type !== "decimal" && scale !== "0")) {
    throw new UsageError(`--keep: expected COLUMN=integer, decimal:SCALE or text, got ${text}`);
  }
  return [column, { type, scale: Number(scale) }];
}

function required(value: string | undefined, name: string): string {
  if (value === undefined || value === "") throw new UsageError(`--${name}: expected a value`);
  return value;
}

function choice<Choice extends string>(
  option: string,
  text: string,
  choices: readonly Choice[],
): Choice {
  const found = choices.find((each) => each === text);
  if (found !== undefined) return found;
  throw new UsageError(`--${option}: expected ${choices.join(", ")}, got ${text}`);
}
