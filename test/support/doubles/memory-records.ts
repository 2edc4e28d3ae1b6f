import { randomUUID } from 'node:crypto'
import { type RecordStore, type SharedRecord, StoreError } from '../../../src/contracts/store.js'

export interface MemoryRecords extends RecordStore {
  /** The stored values and their time to live. */
  kept: Map<string, SharedRecord & { ttlSeconds?: number }>
  /** While set, every step fails, before or after its effect. */
  failing: 'before' | 'after' | undefined
}

/**
 * An in-memory `RecordStore`. Each step first waits for `pass`, so that a test can stage a race.
 */
export function memoryRecords(pass: () => Promise<void> | void = () => {}): MemoryRecords {
  const kept: MemoryRecords['kept'] = new Map()
  const versionOf = (key: string) => kept.get(key)?.version ?? ''
  const done = async <T>(step: () => T): Promise<T> => {
    await pass()
    if (records.failing === 'before') throw new StoreError('down', { mayHaveHappened: false })
    const answer = step()
    if (records.failing === 'after') throw new StoreError('cut off')
    return answer
  }
  const records: MemoryRecords = {
    kept,
    failing: undefined,
    get: key =>
      done(() => {
        const found = kept.get(key)
        return found && { value: found.value, version: found.version }
      }),
    put: (key, value, seen, ttlSeconds) =>
      done(() => {
        if (versionOf(key) !== seen) return false
        kept.set(key, { value, version: randomUUID(), ...(ttlSeconds === undefined ? {} : { ttlSeconds }) })
        return true
      }),
    delete: (key, seen) => done(() => versionOf(key) === seen && kept.delete(key)),
  }
  return records
}
