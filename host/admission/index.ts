export { AdmissionPlane, type AdmissionContext } from "./admission.ts";
export { planAdmission, type AdmissionPlan } from "./plan.ts";
export { assembleEnvelope, quorumOf, readDecisions, type Decisions } from "./envelope.ts";
