export {
  DEMO_COLUMNS,
  DEMO_CUSTOMERS,
  generateDemoCompanies,
  type CompanyData,
  type DemoColumn,
} from "./companies.ts";
export { csvOf, decimalText } from "./csv.ts";
export {
  BANK_COLUMNS,
  hasGenuineData,
  HEART_COLUMNS,
  HEART_FEATURES,
  missingGenuineSets,
  readBankVaults,
  readHeartCentres,
  readSroieReceipts,
  type GenuineReceipt,
  type HeartCentre,
} from "./genuine.ts";
export {
  DEMO_RECEIPTS_MAX,
  generateDemoReceipts,
  renderReceipt,
  type DemoReceipt,
  type ReceiptItem,
  type ReceiptSpec,
} from "./receipts.ts";
export { DataStream } from "./stream.ts";
