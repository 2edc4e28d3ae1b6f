import t from 'tap'
import { Purges } from '../../src/cache/purges.js'
import * as cache from '../../src/cli/cache.js'
import { dispatch } from '../../src/cli/dispatch.js'
import { AuditLog } from '../../src/operations/audit.js'
import { formsOf } from '../../src/segment/shape.js'
import type { Result } from '../../src/segment/types.js'
import type { Store } from '../../src/storage.js'
import { createMemoryBlobs } from '../../src/store/memory-blobs.js'
import { memoryRecords } from '../support/memory-records.js'
import { recorder } from './recorder.js'

const ID = 'a'.repeat(64)
const RESULT: Omit<Result, 'body'> = {
  contentType: 'image/png',
  etag: 'e',
  storedAt: 1,
  cost: 1,
  image: 'b'.repeat(64),
}
const [rle = '', cutout = ''] = formsOf({ ...RESULT, body: Buffer.alloc(0) })

async function aStore() {
  const results = createMemoryBlobs({ maxBytes: 1_000_000 })
  const blob = { meta: JSON.stringify(RESULT), body: Buffer.from('x') }
  for (const key of [ID, rle, cutout, 'other']) await results.put(key, blob, 60)
  const records = memoryRecords()
  let closed = 0
  const store = {
    ...{ results, records },
    size: async () => ({ entries: 4, bytes: 1234 }),
    close: async () => void closed++,
  } as unknown as Store
  const forgotten: string[] = []
  const purges = new Purges({
    records,
    forget: key => forgotten.push(key),
    forgetAll: () => forgotten.push('all'),
    onStoreFailure: () => {},
  })
  await purges.look()
  const audit = () => new AuditLog({ records, now: () => 7, onStoreFailure: () => {} }).read({ limit: 9 })
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

t.test('stats tells what the store holds', async t => {
  const { store, closed } = await aStore()
  t.match(await ran(store, 'stats'), { code: 0, out: '4 entries, 1234 bytes' })
  t.strictSame(JSON.parse((await ran(store, 'stats', '--json')).out), { entries: 4, bytes: 1234 })
  t.equal(closed(), 2)
})

t.test('purge takes out a result and what was made of it, tells the gateways, and is taken down', async t => {
  const { store, results, purges, forgotten, audit } = await aStore()
  t.match(await ran(store, 'purge', ID), { code: 0, err: `The result ${ID} is purged.` })
  t.strictSame(await Promise.all([ID, rle, cutout, 'other'].map(key => results.has(key))), [false, false, false, true])
  await purges.look()
  t.strictSame(forgotten, [ID, rle, cutout])
  t.match(await audit(), [{ action: 'result.purged', subject: ID, by: 'cli' }])
  t.match(await ran(store, 'purge', ID), { code: 1, err: 'There is no result' })
})

t.test('purge --all takes out all', async t => {
  const { store, results, purges, forgotten, audit } = await aStore()
  t.match(await ran(store, 'purge', '--all'), { code: 0, err: '4 results are purged.' })
  t.equal(await results.has('other'), false)
  await purges.look()
  t.strictSame(forgotten, ['all'])
  t.match(await audit(), [{ action: 'results.purged', details: { purged: 4 } }])
})

t.test('mistakes in the command line are exit code 2, and purge nothing', async t => {
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
