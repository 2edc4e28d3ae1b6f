import type { LedgerBooks } from '../../contracts/store.js'
import { NO_MARK, ROLL_UP_BATCH, sealOf, withCall } from '../roll-up.js'
import type { Environment } from './environment.js'
import { readCalls } from './ledger-reads.js'
import { type LedgerTables, readAccount, writeAccount } from './ledger-tables.js'

/** Creates the roll-up of the ledger. It counts as no step: every sum stays as it is. */
export function createRollUp(
  environment: Environment,
  tables: LedgerTables,
): Pick<LedgerBooks, 'rollUp' | 'rolledUp' | 'rolledUpTo'> {
  return {
    async *rollUp(day, limit = ROLL_UP_BATCH) {
      // Closes the day to new entries, also if it has nothing to remove.
      await environment.write(() => {
        if (!isRolledUp(tables, day)) writeAccount(tables, { ...readAccount(tables), rolledUpTo: day })
      })
      for await (const calls of readCalls(environment, tables, day, limit)) {
        const ids = calls.map(({ key }) => key[1] ?? '')
        yield await environment.write(() => ids.filter(callId => remove(tables, day, callId)).length)
      }
    },
    async rolledUp(day) {
      const range = { start: [day, ''] as [string, string], end: [day, '~'] as [string, string] }
      const marks = environment.read(() => [...tables.rolledUp.getRange(range)])
      return marks.map(({ key: [, team], value: { seal, ...mark } }) => ({
        team,
        ...mark,
        isIntact: seal === sealOf(day, team, mark),
      }))
    },
    rolledUpTo: async () => environment.read(() => readAccount(tables).rolledUpTo ?? ''),
  }
}

/** Tells whether the calls of a day may have been removed, so that a missing one is no new one. */
export function isRolledUp(tables: LedgerTables, day: string): boolean {
  return day <= (readAccount(tables).rolledUpTo ?? '')
}

/** Removes a call that is charged or released. Returns whether it was charged. */
function remove(tables: LedgerTables, day: string, callId: string): boolean {
  const known = tables.calls.get([day, callId])
  if (known?.state !== 'charged' && known?.state !== 'released') return false
  tables.calls.remove([day, callId])
  if (known.state === 'released') return false
  const { team, settled } = known
  const { seal: _old, ...mark } = tables.rolledUp.get([day, team]) ?? { ...NO_MARK, seal: '' }
  const next = withCall(mark, callId, settled?.cost ?? 0)
  tables.rolledUp.put([day, team], { ...next, seal: sealOf(day, team, next) })
  return true
}
