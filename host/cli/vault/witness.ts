import { UsageError } from "#cli";
import { z } from "zod";

import { timeText, type VaultCommand } from "./command.ts";
import { standingFields, standingText } from "./standing.ts";

const headSchema = z.object({ size: z.number(), root: z.string() });
const evidence = { vault_id: z.string(), generation: z.number(), at_ms: z.number() };
const statusSchema = z.object({
  ...standingFields,
  restarts: z.number(),
  forks: z.array(z.object({ ...evidence, held: headSchema, other: headSchema })),
  restarts_of_others: z.array(
    z.object({ ...evidence, abandoned: headSchema, restarted: headSchema }),
  ),
});
type Status = z.infer<typeof statusSchema>;

const thawedSchema = z.object({
  generation: z.number(),
  abandoned_size: z.number(),
  log_size: z.number(),
});

/** What other Vaults know of this one, and what it does when it is an older copy. */
export const WITNESS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "witness",
    summary: "whether other Vaults confirm that this store is no older copy",
    help: `Says how the Vault stands with its witnesses. Unconfirmed or frozen it decides, begins and releases nothing: then
other Vaults have not answered yet, or hold a head of its log that it signed and does not have.`,
    options: {},
    run: async (call) => {
      const answer = await (await call.client()).get("/v1/vault/witness");
      return call.show(answer, statusText(statusSchema.parse(answer)));
    },
  },
  {
    name: "thaw",
    summary: "go on from an older copy, giving up the whole budget",
    help: `Ends the freeze of a Vault whose newest store is lost. Every subject's and record scope's budget counts as consumed
from then on, for every purpose, and the log says so for ever. Put the newest store back instead where you can. It is also
the way on for a Vault that stays unconfirmed because another, thawed while it was down, does not vouch for it any more.`,
    options: {
      "write-off": { value: null, summary: "give up the whole budget" },
      confirm: { value: null, summary: "there is no way back from it" },
    },
    run: async (call) => {
      if (!call.flag("write-off") || !call.flag("confirm")) {
        throw new UsageError("vault thaw: expected --write-off --confirm");
      }
      const body = { write_off: true, confirm: true };
      const answer = await (await call.client()).post("/v1/vault/witness/thaw", body);
      const { generation, abandoned_size, log_size } = thawedSchema.parse(answer);
      const text = `restart ${generation}: the head of ${abandoned_size} events is given up, the log goes on at ${log_size}; every budget is written off`;
      return call.show(answer, text);
    },
  },
];

function statusText(status: Status): string {
  const { log_size, cosigned_size, held_by, restarts, forks, restarts_of_others } = status;
  const held = held_by.map(({ vault_id, size }) => `${vault_id} holds ${size}`).join(", ");
  return [
    standingText(status),
    `log ${log_size} events, cosigned up to ${cosigned_size ?? "none"}${held === "" ? "" : `; ${held}`}`,
    `restarts ${restarts}`,
    ...forks.map(
      ({ vault_id, held: one, other, at_ms }) =>
        `PROVEN FORK of the log of ${vault_id}, seen ${timeText(at_ms)}: it signed ${headText(one)} and ${headText(other)}`,
    ),
    ...restarts_of_others.map(
      ({ vault_id, generation, abandoned, restarted, at_ms }) =>
        `restart ${generation} of ${vault_id}, accepted ${timeText(at_ms)}: gave up ${headText(abandoned)}, went on at ${headText(restarted)}`,
    ),
  ].join("\n");
}

function headText({ size, root }: z.infer<typeof headSchema>): string {
  return `${size} events with root ${root}`;
}
