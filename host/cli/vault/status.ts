import type { VaultCommand } from "./command.ts";

/** How the Vault stands. */
export const STATUS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "status",
    summary: "records, subjects, consents, budgets, reservations, log",
    help: "Says what the Vault holds and how its budgets stand.",
    options: {},
    run: async (call) => {
      const status = await (await call.client()).status();
      return call.show(status, JSON.stringify(status, null, 2));
    },
  },
];
