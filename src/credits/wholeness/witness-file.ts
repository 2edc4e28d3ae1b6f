import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LedgerWitness } from '../../contracts/store.js'

/** Keeps what the processes of this machine have seen of the ledger, over their restarts. */
export interface WitnessFile {
  read(): LedgerWitness | undefined
  /** Keeps a later state of the same ledger that another process wrote. */
  write(witness: LedgerWitness): void
}

/**
 * Returns the file `ledger-witness.json` of a folder. A file that cannot be read counts as none, and
 * a disk that cannot be written is no error: the process still has its own memory.
 */
export function witnessFile(dir: string): WitnessFile {
  const path = join(dir, 'ledger-witness.json')
  const read = (): LedgerWitness | undefined => {
    try {
      return parse(readFileSync(path, 'utf8'))
    } catch {
      return undefined
    }
  }
  return {
    read,
    write(witness) {
      const known = read()
      if (known && known.epoch === witness.epoch && known.sequence > witness.sequence) return
      const { epoch, sequence, checksum } = witness
      const draft = `${path}.${process.pid}`
      try {
        writeFileSync(draft, `${JSON.stringify({ epoch, sequence, checksum })}\n`, { mode: 0o600 })
        renameSync(draft, path)
      } catch {
        // A read-only or full disk.
      }
    },
  }
}

function parse(text: string): LedgerWitness | undefined {
  const { epoch, sequence, checksum } = JSON.parse(text) as Partial<LedgerWitness>
  const isValid = typeof epoch === 'string' && Number.isSafeInteger(sequence) && typeof checksum === 'string'
  return isValid ? { epoch, sequence: sequence as number, checksum } : undefined
}
