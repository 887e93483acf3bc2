import type { FastifyInstance } from "fastify";
import { fromHex } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import { addRoute, fromBody, json, nothing } from "../route.ts";
import { backupAnswer, backupsAnswer } from "./answers.ts";
import type { VaultRoutesContext } from "./context.ts";
import { jobAnswer, type Jobs } from "./jobs.ts";

const folder = z.string().min(1).max(4096);
const foldersBody = z.strictObject({ directory: folder, keys_directory: folder });
const expireBody = z.strictObject({
  backup_id: z.string().regex(/^[0-9a-f]{32}$/),
  confirm: z.boolean().default(false),
});

/** Backups. Folders are those of the Vault's own machine. */
export function addBackupRoutes(
  server: FastifyInstance,
  { vault }: VaultRoutesContext,
  jobs: Jobs,
): void {
  const { backups } = vault.custody;
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/backups",
    summary: "Lists the Vault's backups and how each stands.",
    takes: nothing,
    gives: json(backupsAnswer),
    handle: async () => backups.list(),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/backups",
    summary: "Starts a backup into two folders of the Vault's machine.",
    takes: fromBody(foldersBody),
    gives: json(jobAnswer),
    handle: async ({ directory: data, keys_directory: keys }) =>
      jobs.start((report) => backups.make({ data, keys }, report)),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/backups/verify",
    summary: "Starts the verification of a backup.",
    takes: fromBody(foldersBody),
    gives: json(jobAnswer),
    handle: async ({ directory: data, keys_directory: keys }) =>
      jobs.start(async (report) => plainJson(await backups.verify({ data, keys }, report))),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/backups/expire",
    summary: "Destroys a backup's keys, or says what that would give up.",
    takes: fromBody(expireBody),
    gives: json(backupAnswer),
    handle: async ({ backup_id, confirm }) =>
      backups.expire({ backupId: fromHex(backup_id), confirmed: confirm }),
  });
}
