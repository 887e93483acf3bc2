import { conditionHolds, isLike, type Condition, type ContextValues } from "./condition.ts";
import type { KeyPolicy, KeyPolicyStatement, PrincipalSet } from "./policy.ts";

/** What a request to a key shows. */
export interface KeyUse {
  /** Such as `kms:Decrypt`. */
  readonly action: string;
  /** Who asks: the ARN of a user, a role, a role's session or an account's root. */
  readonly principalArn: string;
  /** The ARN of the key. */
  readonly keyArn: string;
  /** Values of the condition keys it carries, by key in lower case. */
  readonly context: ReadonlyMap<string, readonly string[]>;
}

/**
 * Whether `policy` allows `use`: some statement allows it and none denies it.
 *
 * A condition that cannot be judged (an operator that is not known, a policy variable) never helps an Allow
 * and never stops a Deny. A statement for an account's root applies to every principal of that account, as
 * if IAM had delegated all of it.
 *
 * @see IAM user guide, "Policy evaluation logic"; KMS developer guide, "Key policies in AWS KMS"
 */
export function isAllowed(policy: KeyPolicy, use: KeyUse): boolean {
  const applies = (effect: KeyPolicyStatement["Effect"]): boolean =>
    policy.Statement.some((statement) => statement.Effect === effect && covers(statement, use));
  return applies("Allow") && !applies("Deny");
}

function covers(statement: KeyPolicyStatement, use: KeyUse): boolean {
  const { Principal, NotPrincipal, Resource = ["*"] } = statement;
  const isPrincipal =
    Principal !== undefined
      ? includesPrincipal(Principal, use.principalArn)
      : NotPrincipal !== undefined && !isExempt(NotPrincipal, statement.Effect, use.principalArn);
  return (
    isPrincipal &&
    includesAction(statement, use.action) &&
    Resource.some((pattern) => isLike(use.keyArn, pattern)) &&
    conditionsOf(statement).every((condition) => {
      const actual: ContextValues = use.context.get(condition.key.toLowerCase()) ?? null;
      const holds = conditionHolds(condition, actual);
      return holds === "unknown" ? statement.Effect === "Deny" : holds;
    })
  );
}

/** The conditions of a statement, one by one; all have to hold. */
export function conditionsOf({ Condition: blocks }: KeyPolicyStatement): readonly Condition[] {
  return Object.entries(blocks).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([key, values]) => ({ operator, key, values })),
  );
}

/** Whether a statement is about `action`. Actions do not regard case. */
export function includesAction(statement: KeyPolicyStatement, action: string): boolean {
  const { Action, NotAction } = statement;
  const named = (patterns: readonly string[]): boolean =>
    patterns.some((pattern) => isLike(action.toLowerCase(), pattern.toLowerCase()));
  return Action !== undefined ? named(Action) : NotAction !== undefined && !named(NotAction);
}

const ACCOUNT = /^(?:arn:[^:]*:iam::)?(\d{12})(?::root)?$/;

/** The account that `principal` names as a whole, by its id or its root's ARN; null for other principals. */
export function accountOf(principal: string): string | null {
  return ACCOUNT.exec(principal)?.[1] ?? null;
}

function includesPrincipal({ AWS = [] }: PrincipalSet, arn: string): boolean {
  const account = arn.split(":")[4] ?? "";
  return AWS.some(
    (named) =>
      named === "*" || named === arn || named === roleOf(arn) || accountOf(named) === account,
  );
}

/**
 * Whether NotPrincipal keeps a statement off a principal. A Deny exempts only whom it names exactly: an account's
 * root stands for itself, not for the account, and a role not for its sessions.
 *
 * @see IAM user guide, "AWS JSON policy elements: NotPrincipal"
 */
function isExempt(named: PrincipalSet, effect: KeyPolicyStatement["Effect"], arn: string): boolean {
  if (effect === "Allow") return includesPrincipal(named, arn);
  return (named.AWS ?? []).some((each) => each === "*" || each === arn);
}

/** The role of an assumed role's session. */
function roleOf(arn: string): string | null {
  const session = /^arn:([^:]*):sts::(\d{12}):assumed-role\/(.+)\/[^/]+$/.exec(arn);
  if (session === null) return null;
  const [, partition = "", account = "", role = ""] = session;
  return `arn:${partition}:iam::${account}:role/${role}`;
}
