import t from 'tap'
import { Purges } from '../../src/cache/purges.js'
import { memoryRecords } from '../support/memory-records.js'

function watching(records: ReturnType<typeof memoryRecords>) {
  const forgotten: string[] = []
  const purges = new Purges({
    records,
    forget: key => forgotten.push(key),
    forgetAll: () => forgotten.push('all'),
    onStoreFailure: () => {},
  })
  return { purges, forgotten }
}

t.test('what is purged is dropped by all who look, once', async t => {
  const records = memoryRecords()
  const [one, other] = [watching(records), watching(records)]
  await other.purges.look()
  await one.purges.tell('a')
  await one.purges.tell('b')
  await other.purges.look()
  t.strictSame(other.forgotten, ['a', 'b'])
  await other.purges.look()
  t.strictSame(other.forgotten, ['a', 'b'])
  await one.purges.tell('*')
  await other.purges.look()
  t.strictSame(other.forgotten, ['a', 'b', 'all'])
})

t.test('who looks for the first time remembers nothing of what was purged before', async t => {
  const records = memoryRecords()
  await watching(records).purges.tell('a')
  const late = watching(records)
  await late.purges.look()
  t.strictSame(late.forgotten, [])
})

t.test('who has missed more than is kept drops everything', async t => {
  const records = memoryRecords()
  const [one, other] = [watching(records), watching(records)]
  await other.purges.look()
  for (let index = 0; index < 201; index++) await one.purges.tell(String(index))
  await other.purges.look()
  t.strictSame(other.forgotten, ['all'])
})

t.test('a store that was emptied costs no memory: only what it tells since is dropped', async t => {
  const records = memoryRecords()
  const [one, other] = [watching(records), watching(records)]
  for (const key of ['a', 'b', 'c']) await one.purges.tell(key)
  await other.purges.look()
  records.kept.clear()
  await one.purges.tell('d')
  await other.purges.look()
  t.strictSame(other.forgotten, ['d'])
})

t.test('two that purge at the same moment are both heard', async t => {
  const records = memoryRecords(() => new Promise(setImmediate))
  const [one, other, third] = [watching(records), watching(records), watching(records)]
  await third.purges.look()
  await Promise.all([one.purges.tell('a'), other.purges.tell('b')])
  await third.purges.look()
  t.strictSame(third.forgotten.sort(), ['a', 'b'])
})
