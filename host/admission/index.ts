export { AdmissionPlane, type AdmissionContext } from "./admission.ts";
export { type AdmissionDryRun } from "./dry-run.ts";
export { planAdmission, type AdmissionPlan } from "./plan.ts";
export { assembleEnvelope, quorumOf, readDecisions, type Decisions } from "./envelope.ts";
