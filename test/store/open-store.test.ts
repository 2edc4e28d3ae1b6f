import t from 'tap'
import { openStore, placeOf } from '../../src/store/open-store.js'
import { startRedis } from '../support/programs/redis-server.js'
import { call, DAY } from './suite/samples.js'

t.test('the sandbox and the live gateway share no data in the same Redis or folder', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  for (const redisUrl of [{ reveal: () => redis.url }, undefined]) {
    const where = { redisUrl, dataDir: t.testdir(), maxBytes: 10_000_000 }
    const live = await openStore(where)
    const sandbox = await openStore({ ...where, isSandbox: true })
    t.teardown(async () => {
      for (const { store, spool } of [live, sandbox]) await Promise.all([store.close(), spool.close()])
    })
    const { store } = sandbox
    const blob = { meta: '{}', body: Buffer.from('picture') }
    await store.results.put('a', blob, 60)
    await store.images.put('a', blob, 60)
    await store.records.put('secret', 'sandbox', '', 60)
    await store.ledger.reserve(call('a'), {})
    await sandbox.spool.add({ kind: 'note', call: call('b') })

    const found = await Promise.all([
      live.store.results.get('a'),
      live.store.images.get('a'),
      live.store.records.get('secret'),
      live.store.ledger.entry(DAY, 'a'),
      live.spool.all(),
    ])
    t.strictSame(found, [undefined, undefined, undefined, undefined, []], redisUrl ? 'Redis' : 'embedded')
    t.ok(await store.results.get('a'), 'the sandbox finds its own data')
    t.equal((await sandbox.spool.all()).length, 1)
  }
})

t.test('stores are told apart by host, port, database and prefix, or by their real path', async t => {
  const dataDir = t.testdir({ data: {}, link: t.fixture('symlink', 'data') })
  const idOf = (url: string | undefined, changes: object = {}) => {
    const redisUrl = url === undefined ? undefined : { reveal: () => url }
    return placeOf({ redisUrl, dataDir, maxBytes: 1, ...changes }).storeId
  }
  t.match(idOf('redis://one'), /^[0-9a-f]{32}$/)
  for (const same of ['redis://one:6379', 'redis://one/0', 'rediss://user:other@one:6379/0'])
    t.equal(idOf('redis://:secret@one'), idOf(same), same)
  const all = [undefined, 'redis://one', 'redis://two', 'redis://one:6380', 'redis://one/1'].map(url => idOf(url))
  all.push(idOf('redis://one', { isSandbox: true }), idOf(undefined, { isSandbox: true }))
  t.equal(new Set(all).size, all.length)
  const [path, link] = ['data', 'link'].map(name => idOf(undefined, { dataDir: `${dataDir}/${name}` }))
  t.equal(path, link)
})
