import { randomUUID } from 'node:crypto'
import type { Clock } from '../../contracts/clock.js'
import { defined } from '../../contracts/defined.js'
import type { RecordStore } from '../../contracts/store.js'
import type { Environment } from './environment.js'

interface StoredRecord {
  value: string
  version: string
  /** Milliseconds since 1970; absent if the record never expires. */
  expiresAt?: number
}

export interface EmbeddedRecords extends RecordStore {
  /** Deletes expired records. */
  purge(): Promise<void>
}

/** Creates shared records in the ledger's file. */
export function createRecords(environment: Environment, now: Clock): EmbeddedRecords {
  const records = environment.root.openDB<StoredRecord, string>('records', {})
  const findAlive = (key: string): StoredRecord | undefined => {
    const record = records.get(key)
    return record && (record.expiresAt ?? Number.POSITIVE_INFINITY) > now() ? record : undefined
  }
  return {
    async get(key) {
      const record = environment.read(() => findAlive(key))
      return record && { value: record.value, version: record.version }
    },
    put: (key, value, expectedVersion, ttlSeconds) =>
      environment.write(() => {
        if ((findAlive(key)?.version ?? '') !== expectedVersion) return false
        const expiresAt = ttlSeconds === undefined ? undefined : now() + ttlSeconds * 1000
        records.put(key, { value, version: randomUUID(), ...defined({ expiresAt }) })
        return true
      }),
    delete: (key, expectedVersion) =>
      environment.write(() => {
        if (findAlive(key)?.version !== expectedVersion) return false
        records.remove(key)
        return true
      }),
    async purge() {
      const expired = environment.read(() => [...records.getKeys()].filter(key => !findAlive(key)))
      if (expired.length === 0) return
      await environment.write(() => {
        // Checked again, since another process may have written the record meanwhile.
        for (const key of expired) if (!findAlive(key)) records.remove(key)
      })
    },
  }
}
