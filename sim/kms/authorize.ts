import { isAllowed, parseKeyPolicy, parseOperator, type KeyPolicy } from "#host";
import { SymphonyError } from "#protocol";

import { SIM_ACCOUNT, SIM_REGION } from "./caller.ts";
import { KmsFault } from "./fault.ts";
import type { SimKey } from "./keys.ts";
import type { EncryptionContext } from "./material.ts";
import type { Attested } from "./recipient.ts";

/** What a caller wants of a key. */
export interface KeyRequest {
  /** Such as `kms:Decrypt`. */
  readonly action: string;
  readonly principalArn: string;
  readonly attested?: Attested | null;
  readonly encryptionContext?: EncryptionContext;
}

/** The policy of a key that was created without one: AWS's default, everything to the account. */
export const DEFAULT_POLICY = JSON.stringify({
  Version: "2012-10-17",
  Id: "key-default-1",
  Statement: [
    {
      Sid: "Enable IAM User Permissions",
      Effect: "Allow",
      Principal: { AWS: `arn:aws:iam::${SIM_ACCOUNT}:root` },
      Action: "kms:*",
      Resource: "*",
    },
  ],
});

const PRINCIPAL =
  /^(?:\*|\d{12}|arn:aws[a-z-]*:(?:iam|sts)::\d{12}:(?:root|(?:user|role|assumed-role|federated-user)\/.+))$/;

/** The ARN of a key. */
export function keyArn(key: Pick<SimKey, "keyId">): string {
  return `arn:aws:kms:${SIM_REGION}:${SIM_ACCOUNT}:key/${key.keyId}`;
}

/**
 * Lets `request` pass if the key's policy allows it. There is no IAM here: a policy that delegates to the
 * account's root lets all its principals do what it says, as if IAM allowed them everything.
 *
 * @throws {@link KmsFault} AccessDeniedException
 */
export function authorize(key: SimKey, request: KeyRequest): void {
  const { action, principalArn } = request;
  const use = { action, principalArn, keyArn: keyArn(key), context: contextOf(key, request) };
  if (isAllowed(parseKeyPolicy(key.policy), use)) return;
  throw new KmsFault(
    "AccessDeniedException",
    `User: ${principalArn} is not authorized to perform: ${action} on resource: ${keyArn(key)}`,
  );
}

/**
 * Holds the text of a new policy against what AWS refuses: other shapes, principals and operators that are
 * none, and, unless `bypass` is given, a policy under which the caller could not put another.
 *
 * @throws {@link KmsFault} MalformedPolicyDocumentException, LimitExceededException
 */
export function expectUsablePolicy(
  key: SimKey,
  { principalArn, bypass }: { readonly principalArn: string; readonly bypass: boolean },
): void {
  const policy = parsePolicy(key.policy);
  for (const { Principal, NotPrincipal, Condition } of policy.Statement) {
    for (const named of (Principal ?? NotPrincipal)?.AWS ?? []) {
      if (!PRINCIPAL.test(named)) throw malformed("a statement names an invalid principal");
    }
    for (const operator of Object.keys(Condition)) {
      if (!parseOperator(operator).known) throw malformed(`${operator} is no condition operator`);
    }
  }
  const request = { action: "kms:PutKeyPolicy", principalArn };
  const use = { ...request, keyArn: keyArn(key), context: contextOf(key, request) };
  if (!bypass && !isAllowed(policy, use)) {
    throw malformed("the new key policy will not allow you to update the key policy in the future");
  }
}

function parsePolicy(text: string): KeyPolicy {
  try {
    return parseKeyPolicy(text);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    if (error.class === "limit") throw new KmsFault("LimitExceededException", error.message);
    throw malformed(error.message);
  }
}

/** The condition keys a request carries. It comes through no AWS service, so `kms:ViaService` is absent. */
function contextOf(
  key: SimKey,
  { principalArn, attested, encryptionContext }: KeyRequest,
): ReadonlyMap<string, readonly string[]> {
  const account = principalArn.split(":")[4] ?? "";
  const pairs = Object.entries(encryptionContext ?? {});
  return new Map<string, readonly string[]>([
    ["aws:principalarn", [principalArn]],
    ["aws:principalaccount", [account]],
    ["kms:calleraccount", [account]],
    ["kms:keyspec", [key.spec]],
    ["kms:keyusage", [key.usage]],
    ["kms:keyorigin", ["AWS_KMS"]],
    ...pairs.map(
      ([name, value]) => [`kms:encryptioncontext:${name.toLowerCase()}`, [value]] as const,
    ),
    ...(pairs.length === 0
      ? []
      : [["kms:encryptioncontextkeys", pairs.map(([name]) => name)] as const]),
    ...(attested?.conditions ?? []),
  ]);
}

function malformed(message: string): KmsFault {
  return new KmsFault("MalformedPolicyDocumentException", message);
}
