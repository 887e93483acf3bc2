export {
  TaskRegister,
  subTaskId,
  taskIdOf,
  type NewTask,
  type TaskRow,
  type Transition,
} from "./register.ts";
export { ARTIFACT_BYTES_MAX, TaskBlobs } from "./blobs.ts";
export { taskStatements, type BlobSchema, type TaskSchema } from "./queries.ts";
