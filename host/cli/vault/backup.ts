import { open } from "node:fs/promises";
import { resolve } from "node:path";

import { UsageError } from "#cli";
import { LimitError } from "#protocol";
import { z } from "zod";

import { restoreVault } from "../../run/restore.ts";
import { tableText, timeText, type VaultCall, type VaultCommand } from "./command.ts";
import { finished } from "./job.ts";

const SUBJECT_MAX = 1024;

const backupSchema = z.object({
  backup_id: z.string(),
  state: z.string(),
  directory: z.string(),
  keys_directory: z.string(),
  created_ms: z.number(),
  log_size: z.number(),
  bytes: z.number(),
  expired_ms: z.number().nullable(),
});
const verifiedSchema = z.object({
  backup_id: z.string(),
  created_ms: z.number(),
  log_size: z.number(),
  files: z.number(),
  bytes: z.number(),
});

const keys = { value: "DIR", summary: "folder of its keys", required: true } as const;

/** Backups, and the way back from one. */
export const BACKUP_COMMANDS: readonly VaultCommand[] = [
  {
    name: "backup make",
    summary: "copy the Vault, while it runs, into two new folders",
    help: `Copies store and sealed batches into the new folder BACKUP, and the Vault's secrets and master keys into another one:
keep the two apart, since both together open every record. Both folders are on the Vault's machine. The seeds and the
configuration are not in it.`,
    words: ["BACKUP"],
    options: { keys: { ...keys, summary: "new folder for its keys" } },
    run: async (call) => {
      const answer = await finished(call, "/v1/vault/backups", {
        body: foldersOf(call),
        unit: "batches",
      });
      const { backup_id, log_size, bytes } = backupSchema.parse(answer);
      const text = `backup ${backup_id}: ${bytes} bytes, the log up to event ${log_size}`;
      return call.show(answer, text);
    },
  },
  {
    name: "backup list",
    summary: "the Vault's backups, the expired ones that are still somewhere too",
    help: "Lists the backups in the Vault's register. An outstanding one is expired, and its files are still to be destroyed.",
    options: {},
    run: async (call) => {
      const answer = await (await call.client()).get("/v1/vault/backups");
      const rows = z
        .array(backupSchema)
        .parse(answer)
        .map(({ backup_id, state, created_ms, log_size, bytes, directory, keys_directory }) => [
          ...[backup_id, state, timeText(created_ms), String(log_size), String(bytes)],
          ...[directory, keys_directory],
        ]);
      const header = ["BACKUP", "STATE", "MADE", "EVENTS", "BYTES", "DATA", "KEYS"];
      return call.show(answer, rows.length === 0 ? "no backups" : tableText(header, rows));
    },
  },
  {
    name: "backup verify",
    summary: "read a backup again, every byte",
    help: "Holds every file of a backup against the manifest that the Vault has signed.",
    words: ["BACKUP"],
    options: { keys },
    run: async (call) => {
      const answer = await finished(call, "/v1/vault/backups/verify", {
        body: foldersOf(call),
        unit: "files",
      });
      const { backup_id, files, bytes, created_ms } = verifiedSchema.parse(answer);
      const made = timeText(created_ms);
      return call.show(
        answer,
        `backup ${backup_id} of ${made}: ${files} files, ${bytes} bytes, whole`,
      );
    },
  },
  {
    name: "backup expire",
    summary: "end a backup: it is not restored any more, and its files go",
    help: `Removes the files of a backup where they were put. When they are not there any more, destroy every copy first, then
say so with --confirm; the log keeps who said it. ID is what \`backup list\` shows.`,
    words: ["ID"],
    options: { confirm: { value: null, summary: "that every copy is destroyed" } },
    run: async (call) => {
      const [backup_id = ""] = call.words;
      const body = { backup_id, confirm: call.flag("confirm") };
      const answer = await (await call.client()).post("/v1/vault/backups/expire", body);
      return call.show(answer, `backup ${backup_id}: ${backupSchema.parse(answer).state}`);
    },
  },
  {
    name: "restore",
    summary: "put a Vault that does not run back from a backup",
    help: `Verifies the backup and puts it where the configuration says that the Vault is; nothing of one may be there. The Vault
starts unconfirmed: when anything was cosigned after the backup, other Vaults freeze it, and what was spent since does not
come back. Refused when a subject in the backup was erased since. The register of backups says so; where it is lost,
--erased-since names who was erased since the backup was made, one subject a line, maybe none, and the Vault erases them
when it starts.`,
    words: ["BACKUP"],
    offline: true,
    options: {
      keys,
      config: { value: "FILE", summary: "the Vault's configuration", required: true },
      register: {
        value: "FILE",
        summary: "the register of backups; beside the secrets when absent",
      },
      "erased-since": {
        value: "FILE",
        summary: "who was erased since, where the register is lost",
      },
    },
    run: restore,
  },
];

function foldersOf(call: VaultCall) {
  const [backup = ""] = call.words;
  return { directory: resolve(backup), keys_directory: resolve(call.required("keys")) };
}

async function restore(call: VaultCall): Promise<number> {
  const [directory = ""] = call.words;
  const registerFile = call.optional("register");
  const erasedFile = call.optional("erased-since");
  const restored = await restoreVault({
    configFile: call.required("config"),
    ...{ directory, keysDirectory: call.required("keys") },
    ...(registerFile === undefined ? {} : { registerFile }),
    erasedSince: erasedFile === undefined ? null : subjectsIn(erasedFile),
    nowMs: Date.now,
    report: ({ done, total }) => {
      if (done % 100 === 0) call.io.stderr(`${done} of ${total} files\n`);
    },
  });
  const { backup_id, created_ms, log_size, erasures } = restored;
  return call.show(
    restored,
    [
      `backup ${backup_id} of ${timeText(created_ms)} is in place, the log up to event ${log_size}; ${erasures} subjects are erased at the start`,
      "start the Vault; it works once other Vaults have confirmed that they cosigned nothing newer",
    ].join("\n"),
  );
}

/** Subjects of a file, one a line. @throws LimitError SCHEMA_TOO_LARGE for a line that no subject is */
async function* subjectsIn(file: string): AsyncGenerator<string> {
  const handle = await open(file).catch(() => {
    throw new UsageError(`--erased-since: expected a readable file, got ${file}`);
  });
  try {
    for await (const line of handle.readLines()) {
      const subject = line.trim();
      if (subject.length > SUBJECT_MAX) {
        throw new LimitError(
          { code: "SCHEMA_TOO_LARGE", max: SUBJECT_MAX },
          `--erased-since: expected subjects of at most ${SUBJECT_MAX} characters`,
        );
      }
      if (subject !== "") yield subject;
    }
  } finally {
    await handle.close();
  }
}
