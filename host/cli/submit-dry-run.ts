import type { TaskDryRun } from "../http/task-views.ts";

/** What would come of a request, in lines for people. */
export function dryRunLines({ outcome, faults, not_judged, meaning, cost }: TaskDryRun): string[] {
  return [
    outcome === "admissible"
      ? `admissible: only Vaults could still refuse it (${not_judged.join(", ")})`
      : `refused: ${faults.length} of the steps before any Vault is asked`,
    ...faults.map(({ step, code, detail }) => `  ${step}: ${code}: ${detail}`),
    ...(meaning === null
      ? []
      : [
          `means ${meaning.operator} over ${meaning.attribute_ids.join(", ")}, privacy class ${meaning.combined_privacy_class}`,
          ...meaning.operands.map(
            ({ id, rule_id, epsilon_micro }) =>
              `  ${id}: ${epsilon_micro} micro-epsilon${rule_id === null ? "" : `, by rule ${rule_id}`}`,
          ),
        ]),
    ...(cost === null
      ? []
      : [
          `costs at least ${cost.price_micro} micro-epsilon for each subject; this request charges ${cost.charged_micro} over ${cost.rounds} rounds`,
          `its rewards come to at most ${cost.reward_max_minor}; it locks ${cost.lock_minor}`,
        ]),
  ];
}
