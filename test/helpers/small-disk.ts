import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

/** Makes the folder `at` a file system of its own in memory, of the size that mount(8) is told; takes root. */
export function mountSmallDisk(at: string, options: string): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", at], { stdio: "ignore" });
}

export function unmountSmallDisk(at: string): void {
  execFileSync("umount", [at]);
}

/** Whether {@link mountSmallDisk} works here. */
export function canMountSmallDisk(): boolean {
  if (process.getuid?.() !== 0) return false;
  const probe = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-mount-"));
  try {
    mountSmallDisk(probe, "size=64k");
    unmountSmallDisk(probe);
    return true;
  } catch {
    return false;
  } finally {
    fs.rmSync(probe, { recursive: true });
  }
}
