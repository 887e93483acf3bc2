import { readFile } from "node:fs/promises";

import { usageScope } from "#protocol";
import type { VaultCommand } from "./command.ts";

/** What data subjects consented to. */
export const CONSENT_COMMANDS: readonly VaultCommand[] = [
  {
    name: "consent",
    summary: "record that subjects granted or withdrew consent",
    help: `Records a decision for one purpose. It is about the subjects of the file, one a line, or without one about every
subject that the Vault knows.`,
    options: {
      purpose: { value: "PURPOSE", summary: usageScope.options.join(", "), required: true },
      state: { value: "STATE", summary: "granted or withdrawn", required: true },
      subjects: { value: "FILE", summary: "the subjects, one a line; without it all known ones" },
    },
    run: async (call) => {
      const file = call.optional("subjects");
      const answer = await (
        await call.client()
      ).setConsent({
        usage_scope: call.requiredChoice("purpose", usageScope.options),
        state: call.requiredChoice("state", ["granted", "withdrawn"]),
        subjects: file === undefined ? "all-known" : await subjectsIn(file),
      });
      return call.show(answer, JSON.stringify(answer, null, 2));
    },
  },
];

async function subjectsIn(file: string): Promise<string[]> {
  return (await readFile(file, "utf8")).split(/\r?\n/).filter((line) => line !== "");
}
