import { ENCLAVE_WORDS, RUN_WORDS } from "../node-words.ts";
import type { VaultCommand } from "./command.ts";

/** `symphony vault run`. */
export const RUN_COMMANDS: readonly VaultCommand[] = [
  {
    name: "run",
    summary: "be a Vault, until told to stop",
    help: `Keeps one organisation's records, and decides for itself what they are used for.\n${ENCLAVE_WORDS}\n${RUN_WORDS}`,
    words: ["CONFIG"],
    offline: true,
    options: {},
    run: async ({ words: [configFile = ""], io }) => {
      const { runNodeCommand } = await import("../node.ts");
      return runNodeCommand("vault", configFile, io);
    },
  },
];
