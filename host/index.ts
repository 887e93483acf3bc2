export type { EnclaveExit, EnclaveHandle, EnclaveLauncher } from "./execution/enclave-launcher.ts";
