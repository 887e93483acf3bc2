import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gunzipSync } from "node:zlib";

import { LimitError, MalformedError, UnavailableError, utf8, concat } from "#protocol";
import { z } from "zod";

import { parseImageHeader, type ImageHeader } from "../workloads/parse/image-size.ts";
import { pageOfTsv, type Ocr, type OcrPage } from "../workloads/parse/ocr-page.ts";
import { decodeGreyPng, enlarge } from "../workloads/parse/raster.ts";

/** The part of the WebAssembly module's interface used here. */
interface TesseractCore {
  readonly FS: {
    writeFile(path: string, bytes: Uint8Array): void;
    readFile(path: string): Uint8Array;
    unlink(path: string): void;
  };
  readonly TessBaseAPI: new () => TessBaseApi;
}

interface TessBaseApi {
  /** 0 on success. */
  Init(dataPath: null, language: string, engineMode: number): number;
  SetVariable(name: string, value: string): boolean;
  /** Reads `/input`; 0 on success. */
  SetImageFile(exifOrientation: number, angle: number): number;
  WriteImage(kind: number, path: string): void;
  /** 0 on success. */
  Recognize(monitor: null): number;
  GetTSVText(page: number): string;
  Clear(): void;
}

/** Options every start of the module gets: nothing of a page may reach a console. */
const SILENT = { print: () => undefined, printErr: () => undefined } as const;

const coreFactorySchema = z.custom<(options: typeof SILENT) => Promise<TesseractCore>>(
  (value) => typeof value === "function",
);

/** SIMD, but not "relaxed" SIMD, whose results may differ between processors. LSTM engine only. */
const CORE_PATH = "tesseract.js-core/tesseract-core-simd-lstm.js";
const DATA_PATH = "@tesseract.js-data/eng/4.0.0_best_int/eng.traineddata.gz";
const DATA_BYTES_MAX = 64 * 1024 * 1024;

/** Tesseract's OEM_LSTM_ONLY. */
const ENGINE_LSTM = 1;
/** `WriteImage` kind: the decoded image as 8-bit grey. */
const IMAGE_GREY = 1;
/** The one name under which the module writes an image, whatever it is asked. */
const GREY_FILE = "/image.png";
const NO_ROTATION = 0;
const EXIF_UPRIGHT = 1;

/**
 * Tesseract's PSM_SINGLE_BLOCK: lines across the whole page, amounts on the line of what they are for.
 * Of modes 3, 4 and 6 it read most totals and dates of 60 genuine receipts.
 */
const PAGE_SEGMENTATION = "6";

/** Narrower images are enlarged to this width: their print is often under twelve pixels high. */
const WIDTH_WANTED = 1_200;
const SCALE_MAX = 3;
/** Enlarging by less changes nothing but the time taken. */
const SCALE_WORTHWHILE = 1.05;
const ENLARGED_PIXELS_MAX = 12_000_000;

/**
 * Starts Tesseract in this process: WebAssembly, English, no worker, no network, nothing written to disk.
 *
 * Reads the module and its language data from `node_modules` (`--allow-fs-read` of that folder is
 * enough under Node's permission model). Takes about 200 ms and 100 MB; make one and keep it.
 * Orientation tags in a JPEG are ignored.
 *
 * @throws {@link UnavailableError} INTERNAL_UNEXPECTED when module or language data cannot be started.
 */
export async function createOcr(): Promise<Ocr> {
  const require = createRequire(import.meta.url);
  const loaded: unknown = require(CORE_PATH);
  const core = await coreFactorySchema.parse(loaded)(SILENT);
  const data = gunzipSync(readFileSync(require.resolve(DATA_PATH)), {
    maxOutputLength: DATA_BYTES_MAX,
  });
  core.FS.writeFile("./eng.traineddata", data);
  const api = new core.TessBaseAPI();
  if (api.Init(null, "eng", ENGINE_LSTM) !== 0) {
    throw new UnavailableError(
      { code: "INTERNAL_UNEXPECTED" },
      "ocr: expected the recogniser to start, got a refusal",
    );
  }
  api.SetVariable("tessedit_pageseg_mode", PAGE_SEGMENTATION);
  return new TesseractOcr(core, api);
}

class TesseractOcr implements Ocr {
  readonly #core: TesseractCore;
  readonly #api: TessBaseApi;
  #broken = false;

  constructor(core: TesseractCore, api: TessBaseApi) {
    this.#core = core;
    this.#api = api;
  }

  recognize(image: Uint8Array): OcrPage {
    const header = parseImageHeader(image);
    if (this.#broken) {
      throw new UnavailableError(
        { code: "INTERNAL_UNEXPECTED" },
        "ocr: expected a running recogniser, got one that an earlier image stopped",
      );
    }
    try {
      return this.#read(image, header);
    } catch (cause) {
      if (cause instanceof MalformedError || cause instanceof LimitError) throw cause;
      this.#broken = true;
      throw new MalformedError(
        { code: "SCHEMA_IMAGE_MALFORMED" },
        "image: expected pixels the recogniser can read, got a failure",
        { cause },
      );
    } finally {
      if (!this.#broken) this.#forget();
    }
  }

  #read(image: Uint8Array, header: ImageHeader): OcrPage {
    const { width, height } = header;
    this.#load(image);
    const scale = scaleFor(header);
    if (scale > 1) {
      this.#api.WriteImage(IMAGE_GREY, GREY_FILE);
      const grey = decodeGreyPng(this.#core.FS.readFile(GREY_FILE));
      if (grey.width !== width || grey.height !== height) {
        throw new MalformedError(
          { code: "SCHEMA_IMAGE_MALFORMED" },
          "image: expected the dimensions of its header, got others",
        );
      }
      const large = enlarge(grey, scale);
      this.#load(concat(utf8(`P5\n${large.width} ${large.height}\n255\n`), large.pixels));
    }
    if (this.#api.Recognize(null) !== 0) throw new Error("Recognize failed");
    return pageOfTsv(this.#api.GetTSVText(0), { width, height, scale });
  }

  #load(bytes: Uint8Array): void {
    this.#core.FS.writeFile("/input", bytes);
    if (this.#api.SetImageFile(EXIF_UPRIGHT, NO_ROTATION) !== 0) {
      throw new MalformedError(
        { code: "SCHEMA_IMAGE_MALFORMED" },
        "image: expected pixels that decode, got none",
      );
    }
  }

  /** Leaves nothing of the page behind, so that the next image's result depends on that image only. */
  #forget(): void {
    this.#api.Clear();
    this.#core.FS.writeFile("/input", new Uint8Array(0));
    this.#core.FS.writeFile(GREY_FILE, new Uint8Array(0));
  }
}

function scaleFor({ width, height }: ImageHeader): number {
  const wanted = Math.min(SCALE_MAX, WIDTH_WANTED / width);
  const possible = Math.sqrt(ENLARGED_PIXELS_MAX / (width * height));
  const scale = Math.min(wanted, possible);
  return scale > SCALE_WORTHWHILE ? scale : 1;
}
