import { parseOperator, type Condition } from "./condition.ts";
import { conditionsOf, includesAction } from "./evaluate.ts";
import { holdsFor, inverted, measuredBy, pcrOf, type Carried } from "./measured.ts";
import type { KeyPolicy, KeyPolicyStatement } from "./policy.ts";

/** The principal element that stands for everyone. */
export const EVERYONE = "*";
const CARRIED: readonly Carried[] = ["nothing", "instance", "enclave"];

/** What the Denys of a policy surely do, whoever among the principals asked about makes the request. */
export interface Denials {
  /** Whether every request for `action` that carries this is stopped. */
  stops: (principals: readonly string[], action: string, carried: Carried) => boolean;
  /** PCR indices of which requests for any of `actions` have to show listed values; empty for no actions. */
  pins: (principals: readonly string[], actions: readonly string[]) => ReadonlySet<number>;
}

/**
 * Indexes the Denys of `policy` by action and principal, each once, so that a question costs the principals it names
 * and not the number of statements. A Deny counts only where it surely applies: on every resource, for principals
 * named one by one or everyone, never by NotPrincipal.
 *
 * @param actions - Those that will be asked about.
 */
export function indexDenials(policy: KeyPolicy, actions: readonly string[]): Denials {
  const stopped = new Map<string, Set<string>>();
  const pinned = new Map<string, Set<number>>();
  for (const deny of policy.Statement.filter((each) => isSure(each))) {
    const principals = deny.Principal?.AWS ?? [];
    const conditions = conditionsOf(deny);
    const kept = CARRIED.filter((carried) =>
      conditions.every((each) => holdsFor(each, carried) === true),
    );
    const pcrs = pinnedByDeny(conditions);
    for (const action of actions.filter((each) => includesAction(deny, each))) {
      for (const carried of kept) addAll(stopped, `${action} ${carried}`, principals);
      for (const each of principals) addAll(pinned, `${action} ${each}`, pcrs);
    }
  }
  const pinsOf = (principal: string, action: string): readonly number[] =>
    [EVERYONE, principal].flatMap((each) => [...(pinned.get(`${action} ${each}`) ?? [])]);
  return {
    stops: (principals, action, carried) => {
      const those = stopped.get(`${action} ${carried}`);
      return those?.has(EVERYONE) === true || principals.every((each) => those?.has(each) === true);
    },
    pins: (principals, asked) => {
      const each = asked.flatMap((action) => principals.map((one) => pinsOf(one, action)));
      return new Set(each[0]?.filter((pcr) => each.every((pcrs) => pcrs.includes(pcr))));
    },
  };
}

function isSure({ Effect, Resource = ["*"] }: KeyPolicyStatement): boolean {
  return Effect === "Deny" && Resource.includes("*");
}

/** The PCRs of which a Deny on this condition alone keeps out every other value. */
function pinnedByDeny([only, ...others]: readonly Condition[]): ReadonlySet<number> {
  if (only === undefined || others.length > 0) return new Set();
  if (!parseOperator(only.operator).negated || pcrOf(only.key) === null) return new Set();
  return measuredBy(inverted(only)).pinned;
}

function addAll<V>(map: Map<string, Set<V>>, key: string, values: Iterable<V>): void {
  const found = map.get(key) ?? new Set();
  for (const each of values) found.add(each);
  map.set(key, found);
}
