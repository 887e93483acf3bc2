import type { VaultContext } from "../vault-context.ts";
import { withSliceInputs, type ReleasedBatch, type SliceInputs } from "./slice-inputs.ts";

/** Keys and sealed batches of a Vault. Each call is described at the function that it stands for. */
export interface CustodyApi {
  withSliceInputs<T>(
    inputs: SliceInputs,
    use: (batches: readonly ReleasedBatch[]) => Promise<T>,
  ): Promise<T>;
}

/** See {@link CustodyApi}. */
export function custodyOf(context: VaultContext): CustodyApi {
  return {
    withSliceInputs: (inputs, use) => withSliceInputs(context, inputs, use),
  };
}
