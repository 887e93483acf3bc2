/** What a grant allows; see `AccessGrant`. */
export interface GrantTerms {
  readonly actor_id: string;
  readonly task_class: string;
  readonly domain_id: string;
  readonly record_scope: string | null;
  readonly usage_scope: string | null;
  readonly not_before_ms: number | null;
  readonly not_after_ms: number | null;
}

/** What somebody wants to do, and when. */
export interface AccessAsked {
  readonly actor_id: string;
  readonly task_class: string;
  readonly domain_id: string;
  readonly record_scope: string;
  readonly usage_scope: string;
  /** Unix milliseconds, by the Vault's own clock. */
  readonly atMs: number;
}

/** Whether a grant that is not revoked allows what is asked (AZ-1): decisions and their replay use this one rule. */
export function covers(grant: GrantTerms, asked: AccessAsked): boolean {
  return (
    grant.actor_id === asked.actor_id &&
    grant.task_class === asked.task_class &&
    grant.domain_id === asked.domain_id &&
    (grant.record_scope === null || grant.record_scope === asked.record_scope) &&
    (grant.usage_scope === null || grant.usage_scope === asked.usage_scope) &&
    (grant.not_before_ms === null || grant.not_before_ms <= asked.atMs) &&
    (grant.not_after_ms === null || asked.atMs < grant.not_after_ms)
  );
}
