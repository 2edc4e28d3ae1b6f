import { createHash, randomUUID } from 'node:crypto'
import type { LedgerBooks, LedgerLoss, LedgerWitness } from '../../contracts/store.js'
import { KEPT_CHECKSUMS } from '../totals.js'
import type { Environment } from './environment.js'
import { type LedgerTables, readAccount, writeAccount } from './ledger-tables.js'

/** Counts a step of a call, and adds it to the checksum and to the windows of the call. */
export function commitStep(tables: LedgerTables, windows: { day: string; month: string }, step: string): void {
  const known = readAccount(tables)
  const sequence = (known.sequence ?? 0) + 1
  const checksum = createHash('sha1')
    .update(`${known.checksum ?? ''}${sequence}${step}`)
    .digest('hex')
  writeAccount(tables, { ...known, sequence, checksum, epoch: known.epoch ?? randomUUID() })
  tables.checksums.put(sequence % KEPT_CHECKSUMS, { sequence, checksum })
  tables.steps.put(windows.day, sequence)
  tables.steps.put(windows.month, sequence)
}

/**
 * Finds evidence that this is not the ledger that `witness` describes. One file holds all of it, so
 * that no single sum can be lost.
 */
export function findLoss(tables: LedgerTables, witness: LedgerWitness | undefined): LedgerLoss | undefined {
  const { lost, past = [], ...known } = readAccount(tables)
  if (lost || !witness || witness.epoch === '') return lost
  const found = { epoch: known.epoch ?? '', sequence: known.sequence ?? 0, checksum: known.checksum ?? '' }
  const { epoch, sequence, checksum } = witness
  const lossOf = (reason: LedgerLoss['reason']) => ({ reason, expected: { epoch, sequence, checksum }, found })
  if (found.epoch !== epoch) return past.includes(epoch) ? undefined : lossOf('replaced')
  if (found.sequence < sequence) return lossOf('rolled back')
  if (found.sequence === sequence) return found.checksum === checksum ? undefined : lossOf('altered')
  const kept = tables.checksums.get(sequence % KEPT_CHECKSUMS)
  // After a rollback, other steps took the same numbers.
  return kept?.sequence === sequence && kept.checksum !== checksum ? lossOf('rolled back') : undefined
}

/** Marks the ledger as lost for all processes. An earlier mark stays. */
export function markLost(tables: LedgerTables, lost: LedgerLoss): void {
  const known = readAccount(tables)
  if (!known.lost) writeAccount(tables, { ...known, lost, epoch: known.epoch ?? randomUUID() })
}

/** Creates the reads of the verifier, and the acceptance of the operator. */
export function createBooks(
  environment: Environment,
  tables: LedgerTables,
): Pick<LedgerBooks, 'lastStep' | 'months' | 'monthly' | 'accept'> {
  return {
    lastStep: async window => environment.read(() => tables.steps.get(window) ?? 0),
    async months() {
      const months = environment.read(() => [...tables.months.getKeys()].map(([month]) => month))
      return [...new Set(months)]
    },
    async monthly(month) {
      const range = { start: [month] as unknown as [string, string], end: [month, '~'] as [string, string] }
      const booked = environment.read(() => [...tables.months.getRange(range)])
      return Object.fromEntries(booked.map(({ key: [, team], value }) => [team, value]))
    },
    async accept(known) {
      await environment.write(() => {
        const { lost, past = [], ...account } = readAccount(tables)
        const epochs = [...past, lost?.expected.epoch, account.epoch, known].filter(epoch => epoch)
        writeAccount(tables, { ...account, past: [...new Set(epochs as string[])], epoch: randomUUID() })
      })
    },
  }
}
