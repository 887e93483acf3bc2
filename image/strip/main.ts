import { stripFolder } from "./strip.ts";

// `node image/strip/main.ts FOLDER`, for the builder and for Dockerfile.enclave.
const [folder, ...more] = process.argv.slice(2);
if (folder === undefined || more.length > 0) throw new Error("expected FOLDER");
await stripFolder(folder);
