export {
  IMAGE_BYTES_MAX,
  IMAGE_PIXELS_MAX,
  parseImageHeader,
  type ImageHeader,
} from "./image-size.ts";
export {
  OCR_WORDS_MAX,
  pageOfTsv,
  type Box,
  type Ocr,
  type OcrLine,
  type OcrPage,
  type OcrWord,
  type PageGeometry,
} from "./ocr-page.ts";
export { parseReceiptImage, readReceipt } from "./read-receipt.ts";
