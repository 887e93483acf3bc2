export { taskIdOf, verifyAdmitted, verifyRequest, type AuthenticRequest } from "./identity.ts";
export {
  ADMISSION_STEPS,
  firstFault,
  type AdmissionParty,
  type AdmissionStep,
  type AdmissionStepName,
} from "./order.ts";
export { fundsMinor, priceMicro, rewardMaxMinor, roundsOfRequest } from "./price.ts";
export { faultsOf, judgeRequest, type RequestFault, type RequestTerms } from "./rules.ts";
