export { TaskRegister, subTaskId, type TaskRow, type Transition } from "./register.ts";
export { type NewTask, type TaskPlace, type TaskTransaction } from "./take-task.ts";
export { accountOf, lockReference, type LockRequest } from "./budget-lock.ts";
export { type AdmissionControls } from "./controls.ts";
export { refilled, type RateLimit, type TokenWindow } from "./token-window.ts";
export { ARTIFACT_BYTES_MAX, TaskBlobs } from "./blobs.ts";
export { controlStatements, taskStatements, type BlobSchema, type TaskSchema } from "./queries.ts";
