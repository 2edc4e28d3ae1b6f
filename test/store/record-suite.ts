import fc from 'fast-check'
import type { Test } from 'tap'
import type { RecordStore, SharedRecord } from '../../src/storage.js'
import type { Harness } from './samples.js'

export async function testRecords(t: Test, harness: Harness): Promise<void> {
  t.test('a record is written by whoever saw that there was none, once', async t => {
    const { records } = await harness.open(t)
    t.equal(await records.get('key'), undefined)
    t.equal(await records.put('key', 'one', ''), true)
    t.equal(await records.put('key', 'two', ''), false)
    t.match(await records.get('key'), { value: 'one' })
    t.equal(await records.get('other'), undefined)
    t.equal(await records.put('other', '', ''), true)
    t.match(await records.get('other'), { value: '' }, 'an empty text is one')
  })

  t.test('it is replaced by whoever saw the last', async t => {
    const { records } = await harness.open(t)
    await records.put('key', 'one', '')
    const first = await seen(records, 'key')
    t.equal(await records.put('key', 'Grüße 🌊 {"a":1}', first.version), true)
    t.equal(await records.put('key', 'three', first.version), false)
    const second = await seen(records, 'key')
    t.equal(second.value, 'Grüße 🌊 {"a":1}')
    t.not(second.version, first.version)
    t.equal(await records.put('key', second.value, second.version), true, 'also by the same text')
    t.not((await seen(records, 'key')).version, second.version, 'which is another version')
  })

  t.test('it is taken out by whoever saw the last', async t => {
    const { records } = await harness.open(t)
    t.equal(await records.delete('key', ''), false)
    t.equal(await records.delete('key', 'nothing'), false)
    await records.put('key', 'one', '')
    const first = await seen(records, 'key')
    await records.put('key', 'two', first.version)
    t.equal(await records.delete('key', ''), false)
    t.equal(await records.delete('key', first.version), false)
    t.match(await records.get('key'), { value: 'two' })
    t.equal(await records.delete('key', (await seen(records, 'key')).version), true)
    t.equal(await records.get('key'), undefined)
    t.equal(
      await records.put('key', 'three', first.version),
      false,
      'what was seen before it went is no leave to write',
    )
    t.equal(await records.put('key', 'three', ''), true)
  })

  t.test('one that was taken out and written again is not the one that was seen', async t => {
    const { records } = await harness.open(t)
    await records.put('key', 'same', '')
    const before = await seen(records, 'key')
    await records.delete('key', before.version)
    await records.put('key', 'same', '')
    t.not((await seen(records, 'key')).version, before.version)
    t.equal(await records.put('key', 'mine', before.version), false)
    t.equal(await records.delete('key', before.version), false)
    t.match(await records.get('key'), { value: 'same' })
  })

  t.test('one with a time to live is gone after it, as if it had never been', async t => {
    const store = await harness.open(t)
    const { records } = store
    await records.put('key', 'one', '', 100)
    const first = await seen(records, 'key')
    await harness.elapse(store, 'record', 'key', 99)
    t.match(await records.get('key'), { value: 'one' })
    t.equal(await records.put('key', 'two', ''), false)
    await harness.elapse(store, 'record', 'key', 1)
    t.equal(await records.get('key'), undefined)
    t.equal(await records.put('key', 'two', first.version), false)
    t.equal(await records.delete('key', first.version), false)
    t.equal(await records.put('key', 'two', ''), true)
  })

  t.test('each write says anew how long it lives', async t => {
    const store = await harness.open(t)
    const { records } = store
    await records.put('longer', 'one', '', 10)
    await records.put('longer', 'two', (await seen(records, 'longer')).version, 100)
    await harness.elapse(store, 'record', 'longer', 50)
    t.match(await records.get('longer'), { value: 'two' })
    await records.put('for ever', 'one', '', 10)
    await records.put('for ever', 'two', (await seen(records, 'for ever')).version)
    await harness.elapse(store, 'record', 'for ever', 1_000_000)
    t.match(await records.get('for ever'), { value: 'two' })
  })

  t.test('of many who saw the same, exactly one writes', async t => {
    const { records } = await harness.open(t)
    const all = Array.from({ length: 30 }, (_, index) => `writer ${index}`)
    let version = ''
    for (let round = 0; round < 3; round++) {
      const outcomes = await Promise.all(all.map(value => records.put('key', value, version)))
      t.equal(outcomes.filter(Boolean).length, 1)
      const now = await seen(records, 'key')
      t.equal(now.value, all[outcomes.indexOf(true)])
      version = now.version
    }
    const outcomes = await Promise.all(all.map(() => records.delete('key', version)))
    t.equal(outcomes.filter(Boolean).length, 1)
  })

  t.test('records do what a table of values would, and no version comes twice', async t => {
    const { records } = await harness.open(t)
    const step = fc.record({
      do: fc.constantFrom('put', 'put', 'delete'),
      key: fc.constantFrom('a', 'b'),
      /** What the writer has seen: the newest, an older version, or none. */
      seen: fc.constantFrom('newest', 'newest', 'older', 'none'),
    })
    let round = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async steps => {
        round++
        const table = new Map<string, SharedRecord>()
        const versions: Record<string, string[]> = { a: [], b: [] }
        for (const [index, { do: verb, key, seen }] of steps.entries()) {
          const name = `${key}-${round}`
          const known = table.get(key)
          const older = versions[key]?.filter(version => version !== known?.version).at(-1)
          const version = seen === 'none' ? '' : seen === 'older' ? (older ?? 'never') : (known?.version ?? '')
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

async function seen(records: RecordStore, key: string): Promise<SharedRecord> {
  const record = await records.get(key)
  if (!record) throw new Error(`there is no record ${key}`)
  return record
}
