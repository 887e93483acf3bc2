/** What the help of every `run` says; apart from what runs, which is most of the whole. */
export const RUN_WORDS = `CONFIG is JSON; its files are relative to its folder. Runs until SIGTERM or Ctrl-C, and then until what is under way
has ended; a second one ends at once. Prints one JSON object a line: what happens, and never data. docs/deploy-ec2.md says
how to run it on AWS.`;

/** The same of nodes that have enclaves. */
export const ENCLAVE_WORDS =
  "Enclaves are those of an image, behind the unix socket that CONFIG names as enclave.socket.";
