import type { Target } from "../target.ts";
import { reportReplay } from "./archive.ts";
import { hardwareCbor } from "./cbor.ts";
import { certificates } from "./certificate.ts";
import { derElements, derTime } from "./der.ts";
import { eif } from "./eif.ts";
import { cpio, imageSignature } from "./image.ts";
import { cms, keyPolicy } from "./kms.ts";
import { nitroDocument, nitroVerify } from "./nitro.ts";
import { nsmRequest, nsmResponse } from "./nsm.ts";
import { protocolTargets } from "./protocol.ts";
import { simKms } from "./sim-kms.ts";
import { snpVerify } from "./snp-verify.ts";
import { snpReport } from "./snp.ts";
import { tdxVerify } from "./tdx-verify.ts";
import { statements } from "./statements.ts";
import { crl, pckChain, pckExtension, tdxQuote } from "./tdx.ts";

/** Every parser of outside bytes. */
export const TARGETS: readonly Target[] = [
  hardwareCbor,
  derElements,
  derTime,
  ...certificates,
  nitroDocument,
  nitroVerify,
  snpReport,
  snpVerify,
  tdxQuote,
  crl,
  pckChain,
  pckExtension,
  ...statements,
  tdxVerify,
  eif,
  cpio,
  imageSignature,
  reportReplay,
  nsmRequest,
  nsmResponse,
  cms,
  keyPolicy,
  simKms,
  ...protocolTargets,
];
