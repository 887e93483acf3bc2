import type { Policy } from "#protocol";

/** Something in a policy that governance would take and that people seldom mean. */
export interface PolicyFinding {
  readonly path: string;
  readonly message: string;
}

/** What a reader should look at twice. Pure; an empty answer says nothing about whether governance would take it. */
export function lintPolicy(policy: Policy, nowMs: number): PolicyFinding[] {
  return [
    ...processFindings(policy),
    ...admissionFindings(policy),
    ...privacyFindings(policy),
    ...imageFindings(policy, nowMs),
  ];
}

function processFindings({ governance }: Policy): PolicyFinding[] {
  const path = "governance.processes";
  const { policy_change, protocol_upgrade, measurement } = governance.processes;
  const found: PolicyFinding[] = [];
  for (const [kind, process] of Object.entries(governance.processes)) {
    if (process.threshold_basis_points <= 5_000) {
      const message = "expected more than 5000, so that two majorities cannot decide opposites";
      found.push({ path: `${path}.${kind}.threshold_basis_points`, message });
    }
    if (process.quorum === 1) {
      found.push({ path: `${path}.${kind}.quorum`, message: "one voter decides alone" });
    }
  }
  for (const [kind, process] of Object.entries({ policy_change, protocol_upgrade })) {
    if (process.window_ms > 0) continue;
    found.push({ path: `${path}.${kind}.window_ms`, message: "the rules change without a vote" });
  }
  if (measurement.window_ms > 0) {
    const message = "a revocation has to wait for votes";
    found.push({ path: `${path}.measurement.window_ms`, message });
  }
  return found;
}

function admissionFindings({ admission, classes }: Policy): PolicyFinding[] {
  const found: PolicyFinding[] = [];
  const { actor_concurrent_tasks_max: own, concurrent_tasks_max: all } = admission;
  if (own > all) {
    const message = `one actor may run ${own} of ${all} tasks of the network`;
    found.push({ path: "admission.actor_concurrent_tasks_max", message });
  }
  for (const [name, limit] of Object.entries(admission.rate_limits)) {
    if (limit.actor_tasks_max > 0) continue;
    found.push({
      path: `admission.rate_limits.${name}.actor_tasks_max`,
      message: "nobody may submit any",
    });
  }
  for (const [name, { execution_ms_max: most }] of Object.entries(classes)) {
    if (most <= admission.task_timeout_ms_max) continue;
    const message = `longer than task_timeout_ms_max, ${admission.task_timeout_ms_max}`;
    found.push({ path: `classes.${name}.execution_ms_max`, message });
  }
  return found;
}

function privacyFindings({ privacy }: Policy): PolicyFinding[] {
  const scopes = privacy.budgets.map(({ usage_scope: scope }) => scope);
  return scopes.flatMap((scope, index) =>
    scopes.indexOf(scope) === index
      ? []
      : [{ path: `privacy.budgets.${index}`, message: `${scope} again: the first one counts` }],
  );
}

function imageFindings({ attestation }: Policy, nowMs: number): PolicyFinding[] {
  return attestation.reference_values.flatMap((value, index) => {
    const path = `attestation.reference_values.${index}`;
    const found: PolicyFinding[] = [];
    if (value.valid_until_ms <= nowMs) found.push({ path, message: "accepted no more" });
    if (/^0+$/.test(value.pcr0)) {
      found.push({ path, message: "zeros are what debug mode attests, and are never accepted" });
    }
    return found;
  });
}
