import type { CallEntry, LedgerEntry } from '../../contracts/store.js'

export type LedgerKeys = ReturnType<typeof ledgerKeys>

/**
 * Returns the ledger's keys. All share the hash tag `{prefix:ledger}`: a cluster keeps them on one
 * node, where one script may use them together.
 */
export function ledgerKeys(prefix: string) {
  const ledger = `{${prefix}:ledger}`
  return {
    calls: (day: string) => `${ledger}:calls:${day}`,
    totals: (day: string) => `${ledger}:totals:${day}`,
    booked: (month: string) => `${ledger}:booked:${month}`,
    rolledUp: (day: string) => `${ledger}:rolled-up:${day}`,
    open: `${ledger}:open`,
    balance: `${ledger}:balance`,
    account: `${ledger}:account`,
    unknown: `${ledger}:unknown`,
    costs: `${ledger}:costs`,
    checksums: `${ledger}:checksums`,
    /** Written and read to find out whether Redis can serve. */
    probe: `${ledger}:probe`,
    share: (resultId: string) => `${ledger}:share:${resultId}`,
  }
}

/** Returns the keys in the order of `KEYS` in the scripts. */
export function scriptKeys(keys: LedgerKeys, { day, month }: { day: string; month: string }): string[] {
  const { open, account, unknown, costs, balance, checksums } = keys
  return [keys.calls(day), keys.totals(day), keys.booked(month), open, account, unknown, costs, balance, checksums]
}

/** Mark of a call that was released before its reservation arrived. */
export const RELEASED = 'released:0:{}'

export function memberOf({ day, callId }: CallEntry): string {
  return `${day}/${callId}`
}

export function encodeReserved(call: CallEntry): string {
  return encodeEntry({ ...call, state: 'reserved' }, call.estimate)
}

export function encodeEntry(entry: LedgerEntry, amount: number): string {
  return `${entry.state}:${amount}:${JSON.stringify(entry)}`
}

export function decodeEntry(value: string): LedgerEntry | undefined {
  return value === RELEASED ? undefined : (JSON.parse(value.slice(value.indexOf('{'))) as LedgerEntry)
}
