import { createReadStream } from "node:fs";
import { readFile, readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { Readable } from "node:stream";
import { parseArgs } from "node:util";

import { VaultClient } from "../../http/index.ts";
import { EXIT, UsageError, type CliIo } from "../io.ts";
import { readOperator } from "../network-files.ts";

export const INGEST_HELP = `symphony ingest FILE|FOLDER --vault DIR --scope SCOPE [--subject NAME] [--on-error abort|quarantine] [--json]

Puts records into a running Vault: a CSV file, or the PNG and JPEG images of a folder. Records are sealed batch by
batch; with --on-error abort (the default) a bad row leaves nothing behind.

  --vault DIR      folder of the Vault
  --scope SCOPE    registered record scope the records belong to
  --subject NAME   whose documents these are (for images)
`;

const OPTIONS = {
  vault: { type: "string" },
  scope: { type: "string" },
  subject: { type: "string" },
  "on-error": { type: "string", default: "abort" },
  json: { type: "boolean", default: false },
} as const;

function read(argv: readonly string[]) {
  return parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
}

function required(value: string | undefined, name: string): string {
  if (value === undefined || value === "") throw new UsageError(`--${name}: expected a value`);
  return value;
}

async function operatorOf(directory: string | undefined): Promise<VaultClient> {
  return new VaultClient(await readOperator(required(directory, "vault")));
}

/** `symphony ingest`. */
export async function runIngest(argv: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = read(argv);
  const [path] = positionals;
  if (path === undefined || positionals.length !== 1) {
    throw new UsageError("ingest: expected one file or folder");
  }
  const scope = required(values.scope, "scope");
  const operator = await operatorOf(values.vault);
  const isFolder = (await stat(path)).isDirectory();
  const report = isFolder
    ? await ingestFolder({ operator, path, scope, subject: required(values.subject, "subject") })
    : await operator.ingestCsv({
        scope,
        onError: onErrorOf(values["on-error"]),
        body: Readable.toWeb(createReadStream(path)),
      });
  io.stdout(
    values.json
      ? `${JSON.stringify(report)}\n`
      : `${path}: ${report.records} records in ${report.batches} batches, ${report.quarantined} rows set aside\n`,
  );
  return EXIT.ok;
}

function onErrorOf(text: string): "abort" | "quarantine" {
  if (text === "abort" || text === "quarantine") return text;
  throw new UsageError(`--on-error: expected abort or quarantine, got ${text}`);
}

async function ingestFolder(args: {
  readonly operator: VaultClient;
  readonly path: string;
  readonly scope: string;
  readonly subject: string;
}) {
  const names = (await readdir(args.path))
    .filter((name) => [".png", ".jpg", ".jpeg"].includes(extname(name).toLowerCase()))
    .toSorted();
  if (names.length === 0) throw new UsageError(`${args.path}: expected PNG or JPEG images`);
  let records = 0;
  let batches = 0;
  for (const name of names) {
    const image = new Uint8Array(await readFile(join(args.path, name)));
    const report = await args.operator.ingestDocument({
      scope: args.scope,
      subject: args.subject,
      name,
      image,
    });
    records += report.records;
    batches += report.batches;
  }
  return { records, batches, quarantined: 0 };
}
