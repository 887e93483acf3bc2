export { IMAGE_FILES, IMAGE_FOLDERS } from "./build/root-tree.ts";
