import { type RecordStore, StoreError } from '../../src/storage.js'

/** Shared records in plain objects; `pass` is waited for before each step, so that a test can stage a race or an outage. */
export function modelRecords(pass: () => Promise<void> | void = () => {}): RecordStore & {
  readonly values: Map<string, { value: string; version: string }>
  isDown: boolean
} {
  const values = new Map<string, { value: string; version: string }>()
  let writes = 0
  const records = {
    values,
    isDown: false,
    async get(key: string) {
      await reach()
      return values.get(key)
    },
    async put(key: string, value: string, seen: string) {
      await reach()
      if ((values.get(key)?.version ?? '') !== seen) return false
      values.set(key, { value, version: String(++writes) })
      return true
    },
    async delete(key: string, seen: string) {
      await reach()
      return values.get(key)?.version === seen && values.delete(key)
    },
  }
  const reach = async () => {
    await pass()
    if (records.isDown) throw new StoreError('down')
  }
  return records
}
