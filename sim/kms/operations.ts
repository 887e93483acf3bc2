import type { TrustAnchor } from "#attestation";

import { ADMINISTRATION } from "./administration.ts";
import { SIM_ACCOUNT } from "./caller.ts";
import { CRYPTOGRAPHY } from "./cryptography.ts";
import { KmsFault } from "./fault.ts";
import { SimKeyStore } from "./keys.ts";
import type { Operation, Service } from "./service.ts";

/** What the operations of a simulated KMS need. */
export interface KmsOperationsOptions {
  /** Where the keys are kept. */
  readonly directory: string;
  /** Roots of the enclaves it releases to. */
  readonly anchors: readonly TrustAnchor[];
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

/** One operation by its name in the KMS API: JSON in, JSON out. Without a principal, the account's root asks. */
export type KmsOperations = (
  operation: string,
  request: unknown,
  principalArn?: string,
) => Promise<object>;

const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ...Object.entries(ADMINISTRATION),
  ...Object.entries(CRYPTOGRAPHY),
]);
const ROOT_ARN = `arn:aws:iam::${SIM_ACCOUNT}:root`;

/**
 * The operations of a simulated KMS, without their HTTP.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED when the folder holds something that is no key; an
 * operation throws {@link KmsFault} for whatever its request got wrong.
 */
export function createKmsOperations(options: KmsOperationsOptions): KmsOperations {
  const { directory, anchors, nowMs, random } = options;
  const service: Service = { keys: new SimKeyStore(directory), anchors, nowMs, random };
  return async (name, request, principalArn = ROOT_ARN) => {
    const operation = OPERATIONS.get(name);
    if (operation === undefined) {
      throw new KmsFault("UnknownOperationException", "expected an operation the simulator has");
    }
    return await operation({ service, principalArn, request });
  };
}
