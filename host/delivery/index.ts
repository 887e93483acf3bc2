export type { PassedOver } from "./combine-key.ts";
export { openDelivery } from "./open.ts";
