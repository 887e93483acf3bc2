import { SymphonyError } from "#protocol";
import { probeBubblewrap, type Isolation } from "../sandbox.ts";

/**
 * How the demo's enclaves are isolated: by bubblewrap where it works. Without it the demo goes on, and says so.
 */
export async function chooseIsolation(
  insecure: boolean,
  tell: (line: string) => void,
): Promise<Isolation> {
  if (insecure) {
    tell("enclaves run WITHOUT isolation, as --insecure-no-isolation asks");
    return "none";
  }
  try {
    await probeBubblewrap();
    tell("each enclave runs alone under bubblewrap: no network, no files but its image");
    return "bubblewrap";
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    tell(
      "bubblewrap does not work here: enclaves run WITHOUT isolation (install bubblewrap to change that)",
    );
    return "none";
  }
}
