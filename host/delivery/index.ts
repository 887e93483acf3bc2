export { openDelivery } from "./open.ts";
