import t from 'tap'
import { openStore } from '../../src/store/open-store.js'
import { startRedis } from '../support/redis-server.js'
import { call, DAY } from './samples.js'

t.test('what the sandbox answers and charges stays apart from what is real, in the same Redis or folder', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  for (const redisUrl of [{ reveal: () => redis.url }, undefined]) {
    const where = { redisUrl, dataDir: t.testdir(), maxBytes: 10_000_000 }
    const real = await openStore(where)
    const sandbox = await openStore({ ...where, isSandbox: true })
    t.teardown(async () => {
      for (const { store, spool } of [real, sandbox]) await Promise.all([store.close(), spool.close()])
    })
    const { store } = sandbox
    const blob = { meta: '{}', body: Buffer.from('picture') }
    await store.results.put('a', blob, 60)
    await store.images.put('a', blob, 60)
    await store.records.put('secret', 'pretended', '', 60)
    await store.ledger.reserve(call('a'), {})
    await sandbox.spool.add({ kind: 'note', call: call('b') })

    const found = await Promise.all([
      real.store.results.get('a'),
      real.store.images.get('a'),
      real.store.records.get('secret'),
      real.store.ledger.entry(DAY, 'a'),
      real.spool.all(),
    ])
    t.strictSame(found, [undefined, undefined, undefined, undefined, []], redisUrl ? 'Redis' : 'embedded')
    t.ok(await store.results.get('a'), 'and the sandbox finds its own')
    t.equal((await sandbox.spool.all()).length, 1)
  }
})
