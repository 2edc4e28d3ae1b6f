import t from 'tap'
import { PurgeLog } from '../../src/cache/purge-log.js'
import * as cache from '../../src/cli/cache.js'
import { dispatch } from '../../src/cli/dispatch.js'
import type { Store } from '../../src/contracts/store.js'
import type { Result } from '../../src/contracts/types.js'
import { AuditLog } from '../../src/operations/audit.js'
import { derivedKeysOf } from '../../src/segment/shape.js'
import { createMemoryBlobs } from '../../src/store/memory-blobs.js'
import { memoryRecords } from '../support/doubles/memory-records.js'
import { recorder } from './recorder.js'

const ID = 'a'.repeat(64)
const RESULT: Omit<Result, 'body'> = {
  contentType: 'image/png',
  etag: 'e',
  storedAt: 1,
  cost: 1,
  image: 'b'.repeat(64),
}
const derived = derivedKeysOf({ ...RESULT, body: Buffer.alloc(0) })

async function aStore() {
  const results = createMemoryBlobs({ maxBytes: 1_000_000 })
  const blob = { meta: JSON.stringify(RESULT), body: Buffer.from('x') }
  for (const key of [ID, ...derived, 'other']) await results.put(key, blob, 60)
  const records = memoryRecords()
  let closed = 0
  const store = {
    results,
    records,
    size: async () => ({ entries: 4, bytes: 1234 }),
    close: async () => void closed++,
  } as unknown as Store
  const forgotten: string[] = []
  const purges = new PurgeLog({
    records,
    forget: key => forgotten.push(key),
    forgetAll: () => forgotten.push('all'),
    observer: { storeFailed: () => {} },
  })
  await purges.poll()
  const audit = () => new AuditLog({ records, now: () => 7, observer: { storeFailed: () => {} } }).read({ limit: 9 })
  return { store, results, purges, forgotten, audit, closed: () => closed }
}

async function ran(store: Store, ...args: string[]) {
  const io = recorder({})
  const command = {
    help: cache.help,
    run: (words: string[], its: typeof io) => cache.run(words, its, async () => store),
  }
  const code = await dispatch(['cache', ...args], io, { cache: command })
  return { code, out: io.out.join('\n'), err: io.err.join('\n') }
}

t.test('stats shows the size of the store', async t => {
  const { store, closed } = await aStore()
  t.match(await ran(store, 'stats'), { code: 0, out: '4 entries, 1234 bytes' })
  t.strictSame(JSON.parse((await ran(store, 'stats', '--json')).out), { entries: 4, bytes: 1234 })
  t.equal(closed(), 2)
})

t.test('purge removes a result with its derived forms, notifies the gateways, and is recorded', async t => {
  const { store, results, purges, forgotten, audit } = await aStore()
  t.match(await ran(store, 'purge', ID), { code: 0, err: `Result ${ID} was purged.` })
  const left = await Promise.all([ID, ...derived, 'other'].map(key => results.has(key)))
  t.strictSame(left, [...[ID, ...derived].map(() => false), true])
  await purges.poll()
  t.strictSame(forgotten, [ID, ...derived])
  t.match(await audit(), [{ action: 'result.purged', subject: ID, by: 'cli' }])
  t.match(await ran(store, 'purge', ID), { code: 1, err: 'There is no result' })
})

t.test('purge --all removes all results', async t => {
  const { store, results, purges, forgotten, audit } = await aStore()
  t.match(await ran(store, 'purge', '--all'), { code: 0, err: `${derived.length + 2} results were purged.` })
  t.equal(await results.has('other'), false)
  await purges.poll()
  t.strictSame(forgotten, ['all'])
  t.match(await audit(), [{ action: 'results.purged', details: { purged: derived.length + 2 } }])
})

t.test('wrong usage has exit code 2 and purges nothing', async t => {
  const { store, results } = await aStore()
  for (const args of [
    [],
    ['clear'],
    ['purge'],
    ['purge', 'x'],
    ['purge', ID, '--all'],
    ['purge', ID, ID],
    ['stats', 'x'],
  ])
    t.equal((await ran(store, ...args)).code, 2, args.join(' '))
  t.equal(await results.has(ID), true)
})
