import type { RecordStore } from '../storage.js'
import type { AccountMonth } from './statement.js'

/** Reads from the records of reconciliation what became of the account in a month; nothing while that is not known. */
export async function accountMonth(_records: RecordStore, _month: string): Promise<AccountMonth | undefined> {
  return undefined
}
