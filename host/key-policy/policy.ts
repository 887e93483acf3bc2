import { z } from "zod";

import { LimitError, MalformedError } from "#protocol";

/** Most bytes of a key policy (KMS quotas, "Key policy document size": 32 KB). */
export const KEY_POLICY_BYTES_MAX = 32 * 1024;

const oneOrMore = z.union([z.string().transform((one) => [one]), z.array(z.string())]);
const conditionValues = z.preprocess(
  (given) =>
    (Array.isArray(given) ? given : [given]).map((value: unknown) =>
      typeof value === "boolean" || typeof value === "number" ? String(value) : value,
    ),
  z.array(z.string()),
);
/** Principals by kind, as a statement names them. */
export interface PrincipalSet {
  readonly AWS?: readonly string[] | undefined;
  readonly Service?: readonly string[] | undefined;
  readonly Federated?: readonly string[] | undefined;
  readonly CanonicalUser?: readonly string[] | undefined;
}

const principalSchema = z.union([
  z.literal("*").transform((): PrincipalSet => ({ AWS: ["*"] })),
  z
    .strictObject({
      AWS: oneOrMore.optional(),
      Service: oneOrMore.optional(),
      Federated: oneOrMore.optional(),
      CanonicalUser: oneOrMore.optional(),
    })
    .refine((given) => Object.keys(given).length > 0, "expected at least one principal"),
]);
const statementSchema = z
  .strictObject({
    Sid: z.string().optional(),
    Effect: z.enum(["Allow", "Deny"]),
    Principal: principalSchema.optional(),
    NotPrincipal: principalSchema.optional(),
    Action: oneOrMore.optional(),
    NotAction: oneOrMore.optional(),
    Resource: oneOrMore.optional(),
    Condition: z.record(z.string(), z.record(z.string(), conditionValues)).default({}),
  })
  .refine(
    ({ Principal, NotPrincipal }) => (Principal === undefined) !== (NotPrincipal === undefined),
    "expected one of Principal and NotPrincipal",
  )
  .refine(
    ({ Action, NotAction }) => (Action === undefined) !== (NotAction === undefined),
    "expected one of Action and NotAction",
  );
const keyPolicySchema = z.strictObject({
  Version: z.enum(["2012-10-17", "2008-10-17"]).optional(),
  Id: z.string().optional(),
  Statement: z.union([z.array(statementSchema).min(1), statementSchema.transform((one) => [one])]),
});

/** A key policy document; single values have become lists of one. */
export type KeyPolicy = z.infer<typeof keyPolicySchema>;
/** One statement of a {@link KeyPolicy}. */
export type KeyPolicyStatement = KeyPolicy["Statement"][number];

/**
 * Parses the JSON of a KMS key policy.
 *
 * Refuses what could be read in two ways: a name twice in one object (JSON lets either win), an element the
 * grammar does not have, both or neither of Principal and NotPrincipal, of Action and NotAction. Does not
 * judge principals, actions, operators or keys: names AWS does not know are kept.
 *
 * @param json - At most {@link KEY_POLICY_BYTES_MAX} bytes of UTF-8.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED, SCHEMA_MALFORMED
 * @see IAM user guide, "Grammar of the IAM JSON policy language"
 */
export function parseKeyPolicy(json: string): KeyPolicy {
  const bytes = Buffer.byteLength(json);
  if (bytes > KEY_POLICY_BYTES_MAX) {
    throw new LimitError(
      { code: "SCHEMA_TOO_LARGE", bytes, maxBytes: KEY_POLICY_BYTES_MAX },
      `key policy: expected at most ${KEY_POLICY_BYTES_MAX} bytes, got ${bytes}`,
    );
  }
  const value = parseJson(json);
  expectSingleNames(json);
  const parsed = keyPolicySchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".") ?? "";
  throw new MalformedError(
    { code: "SCHEMA_MALFORMED", path },
    `key policy ${path}: ${issue?.message ?? "expected another shape"}`,
  );
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED" },
      "key policy: expected JSON, got other text",
      { cause },
    );
  }
}

/** Walks the tokens of text that is known to be JSON. `JSON.parse` keeps the last of two equal names. */
function expectSingleNames(json: string): void {
  const open: Set<string>[] = [];
  for (const [token, name] of json.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") open.push(new Set());
    if (token === "}") open.pop();
    if (name === undefined) continue;
    const plain = String(JSON.parse(name));
    const names = open.at(-1);
    if (names === undefined || names.has(plain) || plain === "__proto__") {
      throw new MalformedError(
        { code: "SCHEMA_JSON_MALFORMED" },
        "key policy: expected each name once in its object, got one twice",
      );
    }
    names.add(plain);
  }
}
