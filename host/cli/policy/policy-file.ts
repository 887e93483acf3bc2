import { policySchema, type Policy } from "#protocol";

import { readAuthored } from "../authored-file.ts";

const POLICY_BOUND = { subject: "policy", bytesMax: 256 * 1024 };

/** Reads a policy version that a person wrote in YAML or JSON. @throws as `readAuthored` */
export async function readPolicy(path: string): Promise<Policy> {
  return readAuthored(path, policySchema, POLICY_BOUND);
}
