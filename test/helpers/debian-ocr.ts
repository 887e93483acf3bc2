import { spawnSync } from "node:child_process";

import { pageOfTsv, parseImageHeader, type Ocr } from "../../enclave/workloads/parse/index.ts";

/** Whether a `tesseract` program is installed. */
export function hasTesseractProgram(): boolean {
  return spawnSync("tesseract", ["--version"], { stdio: "ignore" }).status === 0;
}

/** The installed `tesseract` program behind our own interface: what our OCR is compared with. */
export const tesseractProgram: Ocr = {
  recognize(image) {
    const { width, height } = parseImageHeader(image);
    const { status, stdout } = spawnSync("tesseract", ["-", "-", "tsv"], {
      input: image,
      env: { ...process.env, OMP_THREAD_LIMIT: "1" },
      maxBuffer: 16 * 1024 * 1024,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`tesseract: expected exit status 0, got ${status}`);
    return pageOfTsv(stdout, { width, height, scale: 1 });
  },
};
