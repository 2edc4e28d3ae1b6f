import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LedgerWitness } from '../../contracts/store.js'

export interface WitnessPlace {
  /** Folder of `ledger-witness.json`. */
  dir: string
  /** Tells stores apart. */
  storeId: string
}

/** Keeps what the processes of this machine have seen of the ledger, over their restarts. */
export interface WitnessFile {
  read(): LedgerWitness | undefined
  /** Tells whether the file was written about another store, and so is ignored. */
  isOfAnotherStore(): boolean
  /** Keeps a later state of the same ledger that another process wrote. */
  write(witness: LedgerWitness): void
}

/**
 * Returns the file `ledger-witness.json` of a folder. A file that cannot be read counts as none, and
 * a disk that cannot be written is no error: the process still has its own memory. A file about
 * another store than `storeId` proves nothing about this one, so it counts as none.
 */
export function witnessFile({ dir, storeId }: WitnessPlace): WitnessFile {
  const path = join(dir, 'ledger-witness.json')
  const stored = () => {
    try {
      return parse(readFileSync(path, 'utf8'))
    } catch {
      return undefined
    }
  }
  const read = (): LedgerWitness | undefined => {
    const found = stored()
    return found?.store === storeId ? found.witness : undefined
  }
  return {
    read,
    isOfAnotherStore() {
      const found = stored()
      return found !== undefined && found.store !== storeId
    },
    write(witness) {
      const known = read()
      if (known && known.epoch === witness.epoch && known.sequence > witness.sequence) return
      const { epoch, sequence, checksum } = witness
      const draft = `${path}.${process.pid}`
      try {
        writeFileSync(draft, `${JSON.stringify({ store: storeId, epoch, sequence, checksum })}\n`, { mode: 0o600 })
        renameSync(draft, path)
      } catch {
        // A read-only or full disk.
      }
    },
  }
}

function parse(text: string): { store: unknown; witness: LedgerWitness } | undefined {
  const { store, epoch, sequence, checksum } = JSON.parse(text) as Partial<LedgerWitness & { store: unknown }>
  const isValid = typeof epoch === 'string' && Number.isSafeInteger(sequence) && typeof checksum === 'string'
  return isValid ? { store, witness: { epoch, sequence: sequence as number, checksum } } : undefined
}
