import type { RecordStore, SharedRecord } from '../../src/storage.js'

/** Shared records in a plain object; times to live are not kept. */
export function memoryRecords(): RecordStore {
  const records = new Map<string, SharedRecord>()
  let writes = 0
  return {
    get: async key => records.get(key),
    async put(key, value, seen) {
      if ((records.get(key)?.version ?? '') !== seen) return false
      records.set(key, { value, version: `${++writes}` })
      return true
    },
    delete: async (key, seen) => records.get(key)?.version === seen && records.delete(key),
  }
}
