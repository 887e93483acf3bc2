export {
  TaskRegister,
  subTaskId,
  taskIdOf,
  type NewTask,
  type TaskRow,
  type Transition,
} from "./register.ts";
export { TASK_STATEMENTS, type TaskSchema } from "./queries.ts";
