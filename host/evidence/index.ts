export { assembleBundle, type EvidenceSources } from "./assemble.ts";
export { excerptOf } from "./excerpt.ts";
export { formatTrust, parseTrust, type Trust } from "./trust.ts";
export { verifyBundle, type CheckResult, type VerificationReport } from "./verify-bundle.ts";
export { verifyExcerpt, verifyLog } from "./verify-logs.ts";
