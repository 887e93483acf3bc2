import type { FastifyInstance } from "fastify";
import { fromHex, parseWith } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import type { VaultRoutesContext } from "./context.ts";
import type { Jobs } from "./jobs.ts";

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
  server.get("/v1/vault/backups", async () => backups.list());
  server.post("/v1/vault/backups", async (request) => {
    const { directory: data, keys_directory: keys } = parseWith(foldersBody, request.body, "body");
    return jobs.start((report) => backups.make({ data, keys }, report));
  });
  server.post("/v1/vault/backups/verify", async (request) => {
    const { directory: data, keys_directory: keys } = parseWith(foldersBody, request.body, "body");
    return jobs.start(async (report) => plainJson(await backups.verify({ data, keys }, report)));
  });
  server.post("/v1/vault/backups/expire", async (request) => {
    const { backup_id, confirm } = parseWith(expireBody, request.body, "body");
    return backups.expire({ backupId: fromHex(backup_id), confirmed: confirm });
  });
}
