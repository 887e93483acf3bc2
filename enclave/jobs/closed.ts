import { RefusedError } from "#protocol";

/**
 * Runs what sees opened data, so that its failure says one thing whatever it was.
 *
 * Which check failed can depend on the records; the code would be a question about them that no budget is charged
 * for. The cause stays inside: an enclave answers with a code alone.
 *
 * @throws {@link RefusedError} EXECUTION_WORKLOAD_FAILED for every failure of `run`
 */
export async function closed<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw new RefusedError(
      { code: "EXECUTION_WORKLOAD_FAILED" },
      "workload: expected to finish, got a failure",
      { cause },
    );
  }
}
