import type { LedgerEntry, LedgerStore } from '../../src/contracts/store.js'

/** Reads all entries of a day. */
export async function entriesOf(ledger: Pick<LedgerStore, 'entries'>, day: string): Promise<LedgerEntry[]> {
  const all: LedgerEntry[] = []
  for await (const page of ledger.entries(day)) all.push(...page)
  return all
}

/** Returns entries as pages of one. */
export async function* pagesOf(entries: readonly LedgerEntry[]): AsyncGenerator<LedgerEntry[]> {
  for (const entry of entries) yield [entry]
}
