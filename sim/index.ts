export { startInsecureKms, type InsecureKms, type SimKmsOptions } from "./kms/server.ts";
export {
  createInsecureLauncher,
  launchInsecureEnclave,
  type SimLaunchOptions,
} from "./launcher.ts";
export { measureSimImage } from "./measure.ts";
export { InsecureSimNsm, type SimNsmOptions } from "./nsm.ts";
export { InsecureSimPlatform, createInsecureSimPlatform } from "./platform.ts";
export { probeBubblewrap, type Isolation } from "./sandbox.ts";
