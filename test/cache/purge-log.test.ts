import t from 'tap'
import { PurgeLog } from '../../src/cache/purge-log.js'
import { StoreError } from '../../src/contracts/store.js'
import { memoryRecords } from '../support/doubles/memory-records.js'

function openLog(records: ReturnType<typeof memoryRecords>) {
  const forgotten: string[] = []
  const purges = new PurgeLog({
    records,
    forget: key => forgotten.push(key),
    forgetAll: () => forgotten.push('all'),
    observer: { storeFailed: () => {} },
  })
  return { purges, forgotten }
}

t.test('each process drops a purged result once', async t => {
  const records = memoryRecords()
  const [one, other] = [openLog(records), openLog(records)]
  await other.purges.poll()
  await one.purges.append('a')
  await one.purges.append('b')
  await other.purges.poll()
  t.strictSame(other.forgotten, ['a', 'b'])
  await other.purges.poll()
  t.strictSame(other.forgotten, ['a', 'b'])
  await one.purges.append('*')
  await other.purges.poll()
  t.strictSame(other.forgotten, ['a', 'b', 'all'])
})

t.test('the first poll ignores purges from before it', async t => {
  const records = memoryRecords()
  await openLog(records).purges.append('a')
  const late = openLog(records)
  await late.purges.poll()
  t.strictSame(late.forgotten, [])
})

t.test('a purge right after the start is not missed', async t => {
  const records = memoryRecords()
  const [one, other] = [openLog(records), openLog(records)]
  other.purges.start()
  t.teardown(() => other.purges.close())
  await one.purges.append('a')
  await other.purges.poll()
  t.strictSame(other.forgotten, ['a'])
})

t.test('a purge that cannot be logged is a store failure', async t => {
  const records = { ...memoryRecords(), put: async () => false }
  await t.rejects(openLog(records).purges.append('a'), StoreError)
})

t.test('a process that missed more purges than the log keeps drops all results', async t => {
  const records = memoryRecords()
  const [one, other] = [openLog(records), openLog(records)]
  await other.purges.poll()
  for (let index = 0; index < 201; index++) await one.purges.append(String(index))
  await other.purges.poll()
  t.strictSame(other.forgotten, ['all'])
})

t.test('after the store was emptied, only the purges since then are dropped', async t => {
  const records = memoryRecords()
  const [one, other] = [openLog(records), openLog(records)]
  for (const key of ['a', 'b', 'c']) await one.purges.append(key)
  await other.purges.poll()
  records.kept.clear()
  await one.purges.append('d')
  await other.purges.poll()
  t.strictSame(other.forgotten, ['d'])
})

t.test('two concurrent purges are both recorded', async t => {
  const records = memoryRecords(() => new Promise(setImmediate))
  const [one, other, third] = [openLog(records), openLog(records), openLog(records)]
  await third.purges.poll()
  await Promise.all([one.purges.append('a'), other.purges.append('b')])
  await third.purges.poll()
  t.strictSame(third.forgotten.sort(), ['a', 'b'])
})
