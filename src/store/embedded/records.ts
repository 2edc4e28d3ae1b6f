import { randomUUID } from 'node:crypto'
import type { RecordStore } from '../../storage.js'
import type { Environment } from './environment.js'

interface Kept {
  value: string
  version: string
  /** Milliseconds since 1970; absent for ever. */
  expiresAt?: number
}

export interface EmbeddedRecords extends RecordStore {
  purge(): Promise<void>
}

/** Shared records beside the ledger. */
export function createRecords(environment: Environment, now: () => number): EmbeddedRecords {
  const records = environment.root.openDB<Kept, string>('records', {})
  const isOver = ({ expiresAt }: Kept) => expiresAt !== undefined && expiresAt <= now()
  const alive = (key: string): Kept | undefined => {
    const kept = records.get(key)
    return kept && !isOver(kept) ? kept : undefined
  }
  return {
    async get(key) {
      const kept = environment.read(() => alive(key))
      return kept && { value: kept.value, version: kept.version }
    },
    put: (key, value, seen, ttlSeconds) =>
      environment.write(() => {
        if ((alive(key)?.version ?? '') !== seen) return false
        const lasts = ttlSeconds === undefined ? {} : { expiresAt: now() + ttlSeconds * 1000 }
        records.put(key, { value, version: randomUUID(), ...lasts })
        return true
      }),
    delete: (key, seen) =>
      environment.write(() => {
        if (alive(key)?.version !== seen) return false
        records.remove(key)
        return true
      }),
    async purge() {
      const over = environment.read(() => [...records.getRange()].filter(({ value }) => isOver(value)))
      if (over.length === 0) return
      await environment.write(() => {
        // Looked at again: another process may have written it anew.
        for (const { key } of over) if (!alive(key)) records.remove(key)
      })
    },
  }
}
