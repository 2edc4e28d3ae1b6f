import { randomBytes, randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { LedgerStore, Store } from '../../../src/contracts/store.js'
import { openRedisStore, type RedisStore, type RedisStoreOptions } from '../../../src/store/redis/redis-store.js'
import { entriesOf } from '../../support/entries-of.js'
import { eventually } from '../../support/eventually.js'
import { freePort } from '../../support/programs/free-port.js'
import { launchRedis, startRedis } from '../../support/programs/redis-server.js'
import { call, charged } from '../suite/samples.js'
import { testStore } from '../suite/store-suite.js'
import { type ProxyOptions, startTcpProxy } from './tcp-proxy.js'

const server = await startRedis()
const raw = new Redis(server.url, { retryStrategy: () => 50 })
raw.on('error', () => undefined)
t.teardown(async () => {
  raw.disconnect()
  await server.close()
})

const prefixes = new WeakMap<Store, string>()

async function open(t: Test, options: Partial<RedisStoreOptions> = {}): Promise<RedisStore> {
  const keyPrefix = `suite-${randomUUID()}`
  const store = await openRedisStore({ url: server.url, keyPrefix, ...options })
  prefixes.set(store, options.keyPrefix ?? keyPrefix)
  t.teardown(() => store.close())
  return store
}

testStore(t, {
  open: t => open(t, { commandSilenceMs: 10_000 }),
  async elapse(store, kind, key, seconds) {
    const prefix = prefixes.get(store)
    const name = kind === 'share' ? `{${prefix}:ledger}:share:${key}` : `${prefix}:${kind}:${key}`
    const leftMs = await raw.pttl(name)
    if (leftMs > 0) await raw.pexpire(name, leftMs - seconds * 1000)
  },
  async downgrade(t, store) {
    const keyPrefix = prefixes.get(store) as string
    const ledger = `{${keyPrefix}:ledger}`
    await raw.del(['account', 'unknown', 'costs'].map(name => `${ledger}:${name}`))
    for (const key of [...(await raw.keys(`${ledger}:totals:*`)), ...(await raw.keys(`${ledger}:booked:*`))])
      await raw.hdel(key, '*')
    return open(t, { keyPrefix, commandSilenceMs: 10_000 })
  },
  async setMark(t, store, { day, team }, mark) {
    const keyPrefix = prefixes.get(store) as string
    const key = `{${keyPrefix}:ledger}:rolled-up:${day}`
    if (mark) await raw.hset(key, team, [mark.calls, mark.charged, mark.digest, mark.seal].join(':'))
    else await raw.hdel(key, team)
    return open(t, { keyPrefix, commandSilenceMs: 10_000 })
  },
  async share(t) {
    const keyPrefix = `workers-${randomUUID()}`
    return { technology: 'redis', target: server.url, keyPrefix, open: () => open(t, { keyPrefix }) }
  },
})

/** Opens a store, and records when it goes up and down. */
async function openWatched(t: Test, options: Partial<RedisStoreOptions> = {}) {
  const seen = { up: 0, down: [] as string[] }
  let changed: () => void = () => undefined
  const note = (change: () => void) => () => {
    change()
    changed()
  }
  const store = await open(t, {
    ...options,
    onUp: note(() => seen.up++),
    onProblem: (error, what) => note(() => seen.down.push(`${what}: ${(error as Error).message}`))(),
  })
  const until = async (condition: () => boolean) => {
    while (!condition()) {
      await new Promise<void>(resolve => {
        changed = resolve
      })
    }
  }
  return { store, seen, until }
}

const everyMethod: Record<string, (store: Store) => Promise<unknown>> = {
  'results.get': ({ results }) => results.get('key'),
  'results.put': ({ results }) => results.put('key', { meta: '{}', body: Buffer.from('x') }, 60),
  'images.has': ({ images }) => images.has('key'),
  'images.delete': ({ images }) => images.delete('key'),
  'ledger.reserve': ({ ledger }) => ledger.reserve(call('a'), {}),
  'ledger.settle': ({ ledger }) => ledger.settle(call('a'), charged(70)),
  'ledger.release': ({ ledger }) => ledger.release(call('a')),
  'ledger.note': ({ ledger }) => ledger.note(call('b')),
  'ledger.entry': ({ ledger }) => ledger.entry('2026-11-30', 'a'),
  'ledger.open': ({ ledger }) => ledger.reservedBefore(1_796_083_199_999, 10),
  'ledger.booked': ({ ledger }) => ledger.booked('vision', call('a')),
  'ledger.addActivity': ({ ledger }) =>
    ledger.addActivity('vision', '2026-11-30', {
      requests: 1,
      hits: 0,
      coalesced: 0,
      savedByCache: 0,
      savedByCoalescing: 0,
    }),
  'ledger.usage': ({ ledger }) => ledger.usage('2026-11'),
  'ledger.entries': ({ ledger }) => entriesOf(ledger, '2026-11-30'),
  'ledger.recordBalance': ({ ledger }) => ledger.recordBalance({ remaining: 1, at: 1 }),
  'ledger.balance': ({ ledger }) => ledger.balance(),
  'ledger.account': ({ ledger }) => ledger.totals(),
  'ledger.unknown': ({ ledger }) => ledger.unknownSince(0, 10),
  'ledger.recentCosts': ({ ledger }) => ledger.recentCosts(),
  'ledger.share': ({ ledger }) =>
    ledger.share({
      resultId: 'r',
      boughtAt: 1,
      payer: 'vision',
      cost: 70,
      team: 'other',
      day: '2026-11-30',
      ttlSeconds: 60,
    }),
  'records.get': ({ records }) => records.get('key'),
  'records.put': ({ records }) => records.put('key', 'value', ''),
  'records.delete': ({ records }) => records.delete('key', 'never'),
  'requests.put': ({ requests }) => requests.put('key', { meta: '{}', body: Buffer.alloc(0) }, 60),
}

/** Checks that every method fails at once, before any answer could arrive from the network. */
async function failsAtOnce(t: Test, store: Store): Promise<void> {
  for (const [name, method] of Object.entries(everyMethod)) {
    let failure: unknown
    method(store).catch(error => {
      failure = error
    })
    await new Promise(resolve => setImmediate(resolve))
    t.match(failure, { name: 'StoreError' }, name)
  }
  t.equal(store.isUp(), false)
}

const works = async (t: Test, store: Store): Promise<void> => {
  for (const [name, method] of Object.entries(everyMethod)) await t.resolves(method(store), name)
  t.equal(store.isUp(), true)
}

t.test('blobs expire and may be evicted; the ledger never expires and is in one slot', async t => {
  await server.flush()
  const keyPrefix = `evict-${randomUUID()}`
  const store = await open(t, { keyPrefix })
  await works(t, store)
  await store.results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
  // The sharers of a result expire; the transfers are part of the totals.
  const durable = async () =>
    [...(await raw.keys(`{${keyPrefix}:ledger}*`)), ...(await raw.keys(`${keyPrefix}:record:*`))]
      .filter(key => !key.includes(':share:'))
      .sort()
  const ledgerKeys = await durable()
  t.ok(ledgerKeys.length >= 8)
  for (const key of ledgerKeys) t.equal(await raw.pttl(key), -1, key)
  const used = Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
  await raw.config('SET', 'maxmemory', used + 12_000_000, 'maxmemory-policy', 'volatile-lru')
  t.teardown(() => raw.config('SET', 'maxmemory', 0))
  const body = randomBytes(1_000_000)
  for (let index = 0; index < 30; index++) await store.results.put(`big-${index}`, { meta: '{}', body }, 60)
  const held = await Promise.all(Array.from({ length: 30 }, (_, index) => store.results.has(`big-${index}`)))
  t.ok(held.filter(Boolean).length < 30)
  t.same(await durable(), ledgerKeys)
})

t.test('a refusal of Redis is a StoreError, and Redis still counts as up', async t => {
  const keyPrefix = `refuse-${randomUUID()}`
  const { store, seen } = await openWatched(t, { keyPrefix })
  await raw.lpush(`${keyPrefix}:result:list`, 'x')
  await t.rejects(store.results.get('list'), { name: 'StoreError', message: /WRONGTYPE/ })
  await raw.config('SET', 'maxmemory', 1, 'maxmemory-policy', 'noeviction')
  t.teardown(() => raw.config('SET', 'maxmemory', 0))
  const secret = 'c2VjcmV0IGltYWdl'
  const failure = await store.results.put('key', { meta: '{}', body: Buffer.from(secret) }, 60).catch(error => error)
  t.match(failure, { name: 'StoreError', message: /OOM/ })
  t.notMatch(
    JSON.stringify({ ...failure, cause: failure.cause, stack: failure.stack }),
    secret,
    'the error contains no image',
  )
  t.equal(store.isUp(), true)
  t.same(seen.down, [])
})

t.test('a foreign value is reported, counts as a miss, and can be replaced', async t => {
  const keyPrefix = `foreign-${randomUUID()}`
  const { store, seen } = await openWatched(t, { keyPrefix })
  const foreign = ['', 'x', 'foreign text', Buffer.from([0xb1, 0xff, 0xff, 0xff, 0xff, 1]), Buffer.from([0xb1, 0, 0])]
  for (const value of foreign) {
    await raw.set(`${keyPrefix}:result:key`, value)
    t.equal(await store.results.get('key'), undefined)
  }
  t.equal(seen.down.length, foreign.length)
  await store.results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
  t.ok(await store.results.get('key'))
})

t.test('a malformed address is refused without quoting it', async t => {
  for (const url of ['localhost:6379', 'http://user:geheim@host', 'redis://', '']) {
    const error = await openRedisStore({ url }).catch(error => error)
    t.match(error, { name: 'Error', message: /redis:\/\// })
    t.notMatch(error.message, 'geheim')
  }
})

t.test('with Redis stopped the store opens, every method fails at once, and it recovers by itself', async t => {
  const own = await startRedis()
  t.teardown(() => own.close())
  await own.stop()
  const { store, seen, until } = await openWatched(t, { url: own.url })
  await failsAtOnce(t, store)
  t.match(seen, { up: 0, down: [/^connection: .*ECONNREFUSED/] }, 'reported once, with the reason')
  await own.start()
  await until(() => seen.up === 1)
  await works(t, store)
  await own.stop()
  await until(() => seen.down.length === 2)
  await failsAtOnce(t, store)
  await own.start()
  await until(() => seen.up === 2)
  t.same(await entriesOf(store.ledger, '2026-11-30'), [], 'Redis came back empty')
  await works(t, store)
})

t.test('scripts that Redis lost are loaded again', async t => {
  const store = await open(t)
  await store.ledger.reserve(call('a'), {})
  await raw.script('FLUSH')
  t.match(await store.ledger.reserve(call('b'), {}), { ok: true, booked: { daily: 200 } })
})

t.test('a waiting command fails when Redis stops', async t => {
  const own = await startRedis()
  t.teardown(() => own.close())
  const { store } = await openWatched(t, { url: own.url, commandSilenceMs: 60_000 })
  own.freeze()
  const waiting = Object.values(everyMethod).map(method => method(store))
  const outcomes = Promise.allSettled(waiting)
  await own.stop()
  for (const outcome of await outcomes) t.match(outcome, { status: 'rejected', reason: { name: 'StoreError' } })
})

t.test(
  'with Redis frozen by SIGSTOP the first command waits, the others fail at once, and late answers do no harm',
  async t => {
    const own = await startRedis()
    t.teardown(() => own.close())
    const { store, seen, until } = await openWatched(t, { url: own.url })
    own.freeze()
    const first = await Promise.allSettled([
      store.results.put('late', { meta: '{}', body: Buffer.from('x') }, 60),
      store.results.get('key'),
      store.ledger.settle(call('late'), charged(70)),
    ])
    for (const outcome of first)
      t.match(outcome, { status: 'rejected', reason: { name: 'StoreError', message: /silent for 200 ms/ } })
    await failsAtOnce(t, store)
    t.match(seen.down, [/^connection: .*silent/])
    own.thaw()
    await until(() => seen.up === 2)
    t.ok(await store.results.get('late'), 'a write without an answer may have had an effect')
    await store.ledger.settle(call('late'), charged(70))
    t.match(await store.ledger.usage('2026-11'), [{ paidCalls: 1, charged: 70 }], 'and is safe to repeat')
    await works(t, store)
  },
)

for (const mode of ['ALL', 'WRITE']) {
  t.test(`Redis paused by CLIENT PAUSE ${mode} counts as frozen until the pause is over`, async t => {
    const own = await startRedis()
    const admin = new Redis(own.url)
    t.teardown(() => {
      admin.disconnect()
      return own.close()
    })
    const { store, seen, until } = await openWatched(t, { url: own.url, commandSilenceMs: 300 })
    await store.ledger.reserve(call('before'), {})
    await admin.call('CLIENT', 'PAUSE', '1500', mode)
    await t.rejects(store.ledger.reserve(call('a'), {}), { name: 'StoreError' })
    await failsAtOnce(t, store)
    await until(() => seen.up === 2)
    await works(t, store)
  })
}

t.test('a connection that was cut silently is replaced', async t => {
  const proxy = await startProxy(t, { targetPort: server.port })
  const { store, seen, until } = await openWatched(t, {
    url: `redis://127.0.0.1:${proxy.port}`,
    commandSilenceMs: 500,
    reconnectSilenceMs: 1000,
  })
  proxy.blackhole()
  await t.rejects(store.results.get('key'), { name: 'StoreError' })
  await until(() => seen.up === 2)
  t.ok(proxy.connections() >= 2, 'a cut connection never recovers')
  await works(t, store)
})

t.test('a large value on a slow connection causes no false alarm, nor do the commands behind it', async t => {
  const proxy = await startProxy(t, { targetPort: server.port, bytesAtOnce: 16_384, pauseMs: 20 })
  const { store, seen } = await openWatched(t, { url: `redis://127.0.0.1:${proxy.port}` })
  const direct = await open(t, { keyPrefix: prefixes.get(store) as string, commandSilenceMs: 5_000 })
  const body = randomBytes(700_000)
  await direct.results.put('big', { meta: '{}', body }, 60)
  const [blob, outcome] = await Promise.all([store.results.get('big'), store.ledger.reserve(call('a'), {})])
  t.ok(blob && body.equals(blob.body))
  t.match(outcome, { ok: true })
  t.same(seen.down, [])
})

const outgoing = [
  {
    title: 'that the connection transfers slowly',
    bytes: 20_000_000,
    line: { pauseMs: 10, slowBytes: 8_000_000 },
    commandSilenceMs: 400,
  },
  {
    title: 'that is still in the buffers of the system',
    bytes: 5_000_000,
    line: { pauseMs: 5 },
    commandSilenceMs: 300,
  },
]
for (const { title, bytes, line, commandSilenceMs } of outgoing) {
  t.test(`storing a large value ${title} causes no false alarm`, async t => {
    const proxy = await startProxy(t, { targetPort: server.port, ...line })
    const { store, seen } = await openWatched(t, { url: `redis://127.0.0.1:${proxy.port}`, commandSilenceMs })
    const body = randomBytes(bytes)
    await store.images.put('big', { meta: '{}', body }, 60)
    const direct = await open(t, { keyPrefix: prefixes.get(store) as string, commandSilenceMs: 5_000 })
    const blob = await direct.images.get('big')
    t.ok(blob && body.equals(blob.body))
    t.same(seen.down, [])
  })
}

t.test('a blocked event loop does not count as silence of Redis', async t => {
  const { store, seen } = await openWatched(t)
  for (let round = 0; round < 3; round++) {
    const answers = Promise.all([store.ledger.balance(), store.results.get('key')])
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700)
    await t.resolves(answers)
  }
  t.same(seen.down, [])
})

t.test('close waits for commands under way and refuses later ones', async t => {
  const store = await openRedisStore({ url: server.url, keyPrefix: `close-${randomUUID()}` })
  const waiting = store.ledger.reserve(call('a'), {})
  await store.close()
  t.match(await waiting, { ok: true })
  await t.rejects(store.ledger.balance(), { name: 'StoreError', message: /closed/ })
  t.equal(store.isUp(), false)
})

t.test('rates are shared through Redis, and fail at once when it is frozen or down', async t => {
  const own = await startRedis()
  t.teardown(() => own.close())
  const keyPrefix = `rate-${randomUUID()}`
  const replica = async () => {
    const { store, seen, until } = await openWatched(t, { url: own.url, keyPrefix, commandSilenceMs: 300 })
    const take = async () => {
      const { sum } = await store.rates.take('team:a', 1, { max: 2, windowMs: 60_000 })
      return sum <= 2
    }
    return { take, seen, until }
  }
  const [one, other] = [await replica(), await replica()]
  t.same([await one.take(), await other.take(), await one.take(), await other.take()], [true, true, false, false])
  const probe = new Redis(own.url)
  const keys = await probe.keys('*:rate:*')
  t.match(keys, [new RegExp(`^${keyPrefix}:rate:`)])
  t.ok((await probe.pttl(keys[0] as string)) > 0)
  probe.disconnect()
  own.freeze()
  await t.rejects(one.take(), { name: 'StoreError' })
  own.thaw()
  await one.until(() => one.seen.up === 2)
  t.equal(await one.take(), false)
  await own.stop()
  await one.until(() => one.seen.down.length === 2)
  await t.rejects(one.take(), { name: 'StoreError' })
})

async function startProxy(t: Test, options: ProxyOptions) {
  const proxy = await startTcpProxy(options)
  t.teardown(() => proxy.close())
  return proxy
}

const LOST_KEYS: Record<string, { keys(ledger: string): string[]; reason: string }> = {
  'the totals of a day': { keys: ledger => [`${ledger}:totals:2026-11-30`], reason: 'incomplete' },
  'the sums of a month': { keys: ledger => [`${ledger}:booked:2026-11`], reason: 'incomplete' },
  'the totals of the ledger': { keys: ledger => [`${ledger}:account`], reason: 'replaced' },
  'the day and the totals of the ledger': {
    keys: ledger => [`${ledger}:account`, `${ledger}:totals:2026-11-30`],
    reason: 'replaced',
  },
}
for (const [title, { keys, reason }] of Object.entries(LOST_KEYS)) {
  t.test(`${title}, evicted or deleted, are a loss, also if a counter of the cache recreates the key`, async t => {
    const keyPrefix = `partial-${randomUUID()}`
    const { ledger } = await open(t, { keyPrefix })
    const limits = { daily: 1_000, monthly: 1_000 }
    for (const id of ['a', 'b']) await ledger.reserve(call(id), limits)
    await ledger.settle(call('a'), charged(70))
    const witness = await ledger.totals()
    await raw.del(keys(`{${keyPrefix}:ledger}`))
    await ledger.addActivity('vision', '2026-11-30', {
      requests: 1,
      hits: 1,
      coalesced: 0,
      savedByCache: 5,
      savedByCoalescing: 0,
    })
    t.match(await ledger.reserve(call('c'), limits, witness), {
      ok: false,
      window: 'lost',
      totals: { loss: { reason } },
    })
    t.equal(await ledger.entry('2026-11-30', 'c'), undefined)
    await ledger.accept()
    t.match(await ledger.reserve(call('c'), limits, witness), { ok: true })
    t.match(await ledger.reserve(call('d'), limits, await ledger.totals()), { ok: true })
  })
}

const STEPS: Record<string, (ledger: LedgerStore) => Promise<unknown>> = {
  settlement: ledger => ledger.settle(call('open'), charged(70)),
  note: ledger => ledger.note(call('open', { jobId: 'job' })),
  release: ledger => ledger.release(call('open')),
}
for (const [name, step] of Object.entries(STEPS))
  for (const sums of ['totals:2026-11-30', 'booked:2026-11']) {
    t.test(`a ${name} that recreates an evicted ${sums} does not hide the loss`, async t => {
      const keyPrefix = `recreated-${randomUUID()}`
      const { ledger } = await open(t, { keyPrefix })
      const limits = { daily: 1_000, monthly: 1_000 }
      for (const id of ['a', 'b', 'open']) await ledger.reserve(call(id), limits)
      const { sequence } = await ledger.totals()
      await raw.del(`{${keyPrefix}:ledger}:${sums}`)
      await step(ledger)
      t.match(await ledger.totals(), { sequence: sequence + 1, loss: { reason: 'incomplete' } }, 'booked and marked')
      t.match(await ledger.reserve(call('c'), limits), { ok: false, window: 'lost' })
    })
  }

t.test('a read that names the windows finds their missing sums', async t => {
  const keyPrefix = `idle-${randomUUID()}`
  const { ledger } = await open(t, { keyPrefix })
  await ledger.reserve(call('a'), {})
  const windows = { day: '2026-11-30', month: '2026-11' }
  t.equal((await ledger.totals(undefined, { windows })).loss, undefined)
  await raw.del(`{${keyPrefix}:ledger}:booked:2026-11`)
  t.equal((await ledger.totals()).loss, undefined)
  t.match((await ledger.totals(undefined, { windows })).loss, { reason: 'incomplete' })
})

t.test('a ledger that was rolled back to an older snapshot is a loss', async t => {
  const own = await startRedis()
  t.teardown(() => own.close())
  const store = await open(t, { url: own.url })
  const admin = new Redis(own.url)
  t.teardown(() => admin.disconnect())
  await store.ledger.reserve(call('a'), {})
  const keys = await admin.keys('*ledger*')
  const snapshot = await Promise.all(keys.map(async key => [key, await admin.dumpBuffer(key)] as const))
  const restore = async () => {
    await admin.flushall()
    for (const [key, value] of snapshot) await admin.restore(key, 0, value)
  }
  for (const id of ['b', 'c']) await store.ledger.reserve(call(id), {})
  const witness = await store.ledger.totals()
  await restore()
  t.match(await store.ledger.reserve(call('d'), { daily: 1_000 }, witness), {
    window: 'lost',
    totals: { loss: { reason: 'rolled back', expected: { sequence: 3 }, found: { sequence: 1 } } },
  })
  await restore()
  for (const id of ['x', 'y']) await store.ledger.reserve(call(id), {})
  t.match(await store.ledger.reserve(call('d'), { daily: 1_000 }, witness), {
    window: 'lost',
    totals: { loss: { reason: 'altered' } },
  })
  await restore()
  for (const id of ['x', 'y', 'z']) await store.ledger.reserve(call(id), {})
  t.match(await store.ledger.reserve(call('d'), { daily: 1_000 }, witness), {
    window: 'lost',
    totals: { loss: { reason: 'rolled back', expected: { sequence: 3 }, found: { sequence: 4 } } },
  })
})

t.test('a user that loses the permission for INFO keeps the last known policy and is reported once', async t => {
  const own = await startRedis()
  t.teardown(() => own.close())
  const admin = new Redis(own.url)
  t.teardown(() => admin.disconnect())
  await admin.acl('SETUSER', 'gateway', 'on', '>secret', '~*', '&*', '+@all')
  await admin.config('SET', 'maxmemory', 100_000_000, 'maxmemory-policy', 'allkeys-lru')
  const problems: string[] = []
  const store = await open(t, {
    url: `redis://gateway:secret@127.0.0.1:${own.port}`,
    checkMs: 20,
    onProblem: (error, what) => problems.push(`${what}: ${(error as Error).message}`),
  })
  t.equal(store.mayEvict(), true)
  await admin.acl('SETUSER', 'gateway', '-info')
  await eventually('the missing permission was never reported', () => problems.length > 0)
  await new Promise(resolve => setTimeout(resolve, 100))
  t.match(problems, [/^policy: the Redis user has no permission for INFO/])
  t.equal(problems.length, 1)
  t.equal(store.mayEvict(), true)
})

t.test('a Redis that is full or may evict is noticed without any call, and recovers', async t => {
  const own = await startRedis()
  t.teardown(() => own.close())
  const admin = new Redis(own.url)
  t.teardown(() => admin.disconnect())
  const { store, seen, until } = await openWatched(t, { url: own.url, checkMs: 20 })
  await store.results.put('key', { meta: '{}', body: Buffer.from('x') }, 60)
  t.same([store.isUp(), store.mayEvict()], [true, false])
  await admin.config('SET', 'maxmemory', 1, 'maxmemory-policy', 'noeviction')
  await until(() => seen.down.length === 1)
  t.same(seen.down, ['connection: Redis is full: it has reached maxmemory and can evict nothing'])
  t.equal(store.isUp(), false)
  t.ok(await store.results.get('key'), 'what it holds is still served')
  await admin.config('SET', 'maxmemory', 0)
  await until(() => seen.up === 2)
  await works(t, store)
  await admin.config('SET', 'maxmemory', 100_000_000, 'maxmemory-policy', 'allkeys-random')
  await eventually('the policy was never noticed', async () => store.mayEvict())
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  await eventually('the correction was never noticed', async () => !store.mayEvict())
  t.equal(store.isUp(), true)
})

t.test('a read-only replica counts as down, is announced once, and serves when it is promoted', async t => {
  const port = await freePort()
  const replica = await launchRedis(t.testdir(), port, ['--replicaof', '127.0.0.1', String(server.port)])
  t.teardown(() => replica.end('SIGKILL'))
  const admin = new Redis(port)
  t.teardown(() => admin.disconnect())
  const { store, seen, until } = await openWatched(t, { url: `redis://127.0.0.1:${port}`, checkMs: 20 })
  t.equal(store.isUp(), false)
  for (let attempt = 0; attempt < 20; attempt++)
    await t.rejects(store.ledger.reserve(call('a'), {}), { name: 'StoreError' })
  t.same([seen.up, seen.down], [0, ['connection: Redis is a read-only replica']])
  await admin.replicaof('NO', 'ONE')
  await until(() => seen.up === 1)
  await works(t, store)
})

t.test('a user without the keys of the ledger, and a cluster node, count as down', async t => {
  await raw.acl('SETUSER', 'cache-only', 'on', '>secret', '~*:result:*', '~*:lease*', '&*', '+@all')
  const user = await openWatched(t, { url: `redis://cache-only:secret@127.0.0.1:${server.port}` })
  t.equal(user.store.isUp(), false)
  t.match(user.seen.down, [/the Redis user has no permission/])
  const port = await freePort()
  const node = await launchRedis(t.testdir(), port, [
    '--cluster-enabled',
    'yes',
    '--cluster-port',
    `${await freePort()}`,
  ])
  t.teardown(() => node.end('SIGKILL'))
  const cluster = await openWatched(t, { url: `redis://127.0.0.1:${port}` })
  t.equal(cluster.store.isUp(), false)
  t.match(cluster.seen.down, [/Redis is a node of a cluster, which is not supported/])
})
