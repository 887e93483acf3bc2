import { z } from "zod";

/** Most bytes of a key policy (KMS quotas: 32 KB). */
export const KEY_POLICY_BYTES_MAX = 32 * 1024;

const oneOrMore = z.union([z.string(), z.array(z.string()).min(1)]);
const statementSchema = z.strictObject({
  Sid: z.string().optional(),
  Effect: z.enum(["Allow", "Deny"]),
  Principal: z.unknown().optional(),
  Action: oneOrMore,
  Resource: z.literal("*").optional(),
  Condition: z.record(z.string(), z.record(z.string(), oneOrMore)).optional(),
});

/** The part of a key policy document the simulator knows. Principals are not judged. */
export const keyPolicySchema = z.strictObject({
  Version: z.literal("2012-10-17"),
  Id: z.string().optional(),
  Statement: z.array(statementSchema).min(1),
});

/** See {@link keyPolicySchema}. */
export type KeyPolicy = z.infer<typeof keyPolicySchema>;
type Statement = KeyPolicy["Statement"][number];

/** What a request has to show: its action, and the condition keys it carries, in lower case. */
export interface KeyUse {
  /** Such as `kms:Decrypt`. */
  readonly action: string;
  readonly context: ReadonlyMap<string, string>;
}

/**
 * Whether `policy` allows `use`: some statement allows it and none denies it.
 *
 * A condition on a key the request does not carry does not hold; an operator the simulator does not know
 * never holds for Allow and always holds for Deny.
 *
 * @see AWS KMS developer guide, "Condition keys for AWS Nitro Enclaves"
 */
export function isAllowed(policy: KeyPolicy, use: KeyUse): boolean {
  const matching = (effect: Statement["Effect"]): boolean =>
    policy.Statement.some(
      (statement) =>
        statement.Effect === effect &&
        list(statement.Action).some((action) => matchesAction(action, use.action)) &&
        conditionsHold(statement, use),
    );
  return matching("Allow") && !matching("Deny");
}

function conditionsHold({ Condition = {}, Effect }: Statement, { context }: KeyUse): boolean {
  return Object.entries(Condition).every(([operator, keys]) =>
    Object.entries(keys).every(([key, values]) => {
      const actual = context.get(key.toLowerCase());
      switch (operator) {
        case "StringEquals":
          return actual !== undefined && list(values).includes(actual);
        case "StringEqualsIgnoreCase":
          return (
            actual !== undefined &&
            list(values).some((value) => value.toLowerCase() === actual.toLowerCase())
          );
        default:
          return Effect === "Deny";
      }
    }),
  );
}

function matchesAction(pattern: string, action: string): boolean {
  const wanted = pattern.toLowerCase();
  const actual = action.toLowerCase();
  return wanted.endsWith("*") ? actual.startsWith(wanted.slice(0, -1)) : wanted === actual;
}

function list(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
}
