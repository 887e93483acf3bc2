export { parseOperator } from "./condition.ts";
export { isAllowed, type KeyUse } from "./evaluate.ts";
export {
  lintKeyPolicy,
  type KeyPolicyFinding,
  type KeyPolicyReport,
  type KeyPolicyVerdict,
} from "./lint.ts";
export { KEY_POLICY_BYTES_MAX, parseKeyPolicy, type KeyPolicy } from "./policy.ts";
