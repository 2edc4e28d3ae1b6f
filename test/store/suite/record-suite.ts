import fc from 'fast-check'
import type { Test } from 'tap'
import type { RecordStore, SharedRecord } from '../../../src/contracts/store.js'
import type { Harness } from './samples.js'

export async function testRecords(t: Test, harness: Harness): Promise<void> {
  t.test('a record is created once by a writer that expects none', async t => {
    const { records } = await harness.open(t)
    t.equal(await records.get('key'), undefined)
    t.equal(await records.put('key', 'one', ''), true)
    t.equal(await records.put('key', 'two', ''), false)
    t.match(await records.get('key'), { value: 'one' })
    t.equal(await records.get('other'), undefined)
    t.equal(await records.put('other', '', ''), true)
    t.match(await records.get('other'), { value: '' }, 'an empty value is a record')
  })

  t.test('a record is replaced by a writer that expects its version', async t => {
    const { records } = await harness.open(t)
    await records.put('key', 'one', '')
    const first = await current(records, 'key')
    t.equal(await records.put('key', 'Grüße 🌊 {"a":1}', first.version), true)
    t.equal(await records.put('key', 'three', first.version), false)
    const second = await current(records, 'key')
    t.equal(second.value, 'Grüße 🌊 {"a":1}')
    t.not(second.version, first.version)
    t.equal(await records.put('key', second.value, second.version), true, 'also by the same value')
    t.not((await current(records, 'key')).version, second.version, 'which gets another version')
  })

  t.test('a record is deleted by a writer that expects its version', async t => {
    const { records } = await harness.open(t)
    t.equal(await records.delete('key', ''), false)
    t.equal(await records.delete('key', 'nothing'), false)
    await records.put('key', 'one', '')
    const first = await current(records, 'key')
    await records.put('key', 'two', first.version)
    t.equal(await records.delete('key', ''), false)
    t.equal(await records.delete('key', first.version), false)
    t.match(await records.get('key'), { value: 'two' })
    t.equal(await records.delete('key', (await current(records, 'key')).version), true)
    t.equal(await records.get('key'), undefined)
    t.equal(await records.put('key', 'three', first.version), false, 'the version of a deleted record permits no write')
    t.equal(await records.put('key', 'three', ''), true)
  })

  t.test('a record deleted and created again has another version', async t => {
    const { records } = await harness.open(t)
    await records.put('key', 'same', '')
    const before = await current(records, 'key')
    await records.delete('key', before.version)
    await records.put('key', 'same', '')
    t.not((await current(records, 'key')).version, before.version)
    t.equal(await records.put('key', 'mine', before.version), false)
    t.equal(await records.delete('key', before.version), false)
    t.match(await records.get('key'), { value: 'same' })
  })

  t.test('a record with a time to live is gone after it', async t => {
    const store = await harness.open(t)
    const { records } = store
    await records.put('key', 'one', '', 100)
    const first = await current(records, 'key')
    await harness.elapse(store, 'record', 'key', 99)
    t.match(await records.get('key'), { value: 'one' })
    t.equal(await records.put('key', 'two', ''), false)
    await harness.elapse(store, 'record', 'key', 1)
    t.equal(await records.get('key'), undefined)
    t.equal(await records.put('key', 'two', first.version), false)
    t.equal(await records.delete('key', first.version), false)
    t.equal(await records.put('key', 'two', ''), true)
  })

  t.test('each write sets a new time to live', async t => {
    const store = await harness.open(t)
    const { records } = store
    await records.put('longer', 'one', '', 10)
    await records.put('longer', 'two', (await current(records, 'longer')).version, 100)
    await harness.elapse(store, 'record', 'longer', 50)
    t.match(await records.get('longer'), { value: 'two' })
    await records.put('permanent', 'one', '', 10)
    await records.put('permanent', 'two', (await current(records, 'permanent')).version)
    await harness.elapse(store, 'record', 'permanent', 1_000_000)
    t.match(await records.get('permanent'), { value: 'two' })
  })

  t.test('exactly one of many writers with the same version succeeds', async t => {
    const { records } = await harness.open(t)
    const all = Array.from({ length: 30 }, (_, index) => `writer ${index}`)
    let version = ''
    for (let round = 0; round < 3; round++) {
      const outcomes = await Promise.all(all.map(value => records.put('key', value, version)))
      t.equal(outcomes.filter(Boolean).length, 1)
      const now = await current(records, 'key')
      t.equal(now.value, all[outcomes.indexOf(true)])
      version = now.version
    }
    const outcomes = await Promise.all(all.map(() => records.delete('key', version)))
    t.equal(outcomes.filter(Boolean).length, 1)
  })

  t.test('records behave like a table of values, and no version occurs twice', async t => {
    const { records } = await harness.open(t)
    const step = fc.record({
      do: fc.constantFrom('put', 'put', 'delete'),
      key: fc.constantFrom('a', 'b'),
      /** Version that the writer expects: the newest, an older one, or none. */
      expected: fc.constantFrom('newest', 'newest', 'older', 'none'),
    })
    let round = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async steps => {
        round++
        const table = new Map<string, SharedRecord>()
        const versions: Record<string, string[]> = { a: [], b: [] }
        for (const [index, { do: verb, key, expected }] of steps.entries()) {
          const name = `${key}-${round}`
          const known = table.get(key)
          const older = versions[key]?.filter(version => version !== known?.version).at(-1)
          const version = expected === 'none' ? '' : expected === 'older' ? (older ?? 'never') : (known?.version ?? '')
          const isWritten = verb === 'put' ? version === (known?.version ?? '') : version === known?.version
          const value = `value ${index}`
          const outcome = verb === 'put' ? await records.put(name, value, version) : await records.delete(name, version)
          if (outcome !== isWritten) return false
          const now = await records.get(name)
          if (!isWritten && (now?.version !== known?.version || now?.value !== known?.value)) return false
          if (isWritten && verb === 'delete') {
            if (now) return false
            table.delete(key)
          }
          if (isWritten && verb === 'put') {
            if (now?.value !== value || versions[key]?.includes(now.version)) return false
            versions[key]?.push(now.version)
            table.set(key, now)
          }
        }
        return true
      }),
      { numRuns: 40 },
    )
  })
}

async function current(records: RecordStore, key: string): Promise<SharedRecord> {
  const record = await records.get(key)
  if (!record) throw new Error(`there is no record ${key}`)
  return record
}
