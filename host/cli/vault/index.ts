import { EXIT, UsageError, type CliIo } from "#cli";

import { ACCESS_COMMANDS } from "./access.ts";
import { ATTRIBUTES_COMMANDS } from "./attributes.ts";
import { AUDIT_COMMANDS } from "./audit.ts";
import { BACKUP_COMMANDS } from "./backup.ts";
import { callCommand, helpOf, type VaultCommand } from "./command.ts";
import { CONSENT_COMMANDS } from "./consent.ts";
import { CUSTODY_COMMANDS } from "./custody.ts";
import { LEDGER_COMMANDS } from "./ledger.ts";
import { INGEST_COMMANDS } from "./ingests.ts";
import { RECORDS_COMMANDS } from "./records.ts";
import { RUN_COMMANDS } from "./run.ts";
import { STATUS_COMMANDS } from "./status.ts";
import { WITNESS_COMMANDS } from "./witness.ts";

/** Every command of `symphony vault`, by area. */
const COMMANDS: readonly VaultCommand[] = [
  ...RUN_COMMANDS,
  ...STATUS_COMMANDS,
  ...INGEST_COMMANDS,
  ...WITNESS_COMMANDS,
  ...RECORDS_COMMANDS,
  ...ATTRIBUTES_COMMANDS,
  ...CONSENT_COMMANDS,
  ...ACCESS_COMMANDS,
  ...AUDIT_COMMANDS,
  ...LEDGER_COMMANDS,
  ...CUSTODY_COMMANDS,
  ...BACKUP_COMMANDS,
];

/** Runs `symphony vault ...`; alone it lists the commands. @throws UsageError and the command's own errors */
export async function runVault(argv: readonly string[], io: CliIo): Promise<number> {
  if (argv.length === 0) {
    io.stderr(overview());
    return EXIT.usage;
  }
  const found = find(argv);
  if (found === undefined) {
    const names = COMMANDS.map(({ name }) => name).join(", ");
    throw new UsageError(`vault: expected one of ${names}, got ${argv[0]}`);
  }
  return callCommand(found.command, found.rest, io);
}

/** The help of the command that `argv` names, or the list of all. */
export function vaultHelp(argv: readonly string[]): string {
  const found = find(argv);
  return found === undefined ? overview() : helpOf(found.command);
}

/** The command whose name has most words. */
function find(argv: readonly string[]) {
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(" ");
    const command = COMMANDS.find((each) => each.name === name);
    if (command !== undefined) return { command, rest: argv.slice(words) };
  }
  return undefined;
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "symphony vault COMMAND --vault DIR [...]",
    "",
    "The operator's commands of one running Vault, whose folder DIR is.",
    "",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}   ${summary}`),
    "",
    "symphony vault COMMAND --help says more. --json gives one JSON object.",
    "",
  ].join("\n");
}
