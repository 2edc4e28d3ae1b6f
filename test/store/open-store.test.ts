import t from 'tap'
import { openStore } from '../../src/store/open-store.js'
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
