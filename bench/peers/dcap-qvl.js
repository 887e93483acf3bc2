import { readFileSync } from "node:fs";

import { verify } from "@phala/dcap-qvl";

import { printQuartile } from "./quartile.js";

const [quoteFile, collateralFile, seconds] = process.argv.slice(2);
const quote = new Uint8Array(readFileSync(quoteFile));
const collateral = JSON.parse(readFileSync(collateralFile, "utf8"));

printQuartile(() => {
  const { status } = verify(quote, collateral, Number(seconds));
  if (status !== "UpToDate") throw new Error(`quote: expected UpToDate, got ${status}`);
});
