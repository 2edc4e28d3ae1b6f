import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { LeaseClaim } from '../../../src/contracts/store.js'
import { openRedisStore, type RedisStoreOptions } from '../../../src/store/redis/redis-store.js'
import { eventually } from '../../support/eventually.js'
import { startRedis } from '../../support/programs/redis-server.js'

const server = await startRedis()
const raw = new Redis(server.url)
t.teardown(() => {
  raw.disconnect()
  return server.close()
})

const claim = (name: string, token: string): LeaseClaim => ({ name, token, note: '{}', ttlMs: 60_000 })

/** Opens a store with a key prefix that is new to Redis. */
async function open(t: Test, options: Partial<RedisStoreOptions> = {}) {
  const keyPrefix = `leases-${randomUUID()}`
  const store = await openRedisStore({ url: server.url, keyPrefix, recoveryMs: 0, ...options })
  t.teardown(() => store.close())
  const key = (name: string) => `{${keyPrefix}:flights}:lease:${name}`
  const channel = `${keyPrefix}:flights:landed`
  return { store, leases: store.leases, key, channel, since: `{${keyPrefix}:flights}:since` }
}

function until(condition: () => Promise<boolean>): Promise<boolean> {
  return eventually('the condition never held', condition)
}

const listenersOf = async (channel: string): Promise<number> =>
  Number(((await raw.call('PUBSUB', 'NUMSUB', channel)) as unknown[])[1])

const clientIds = async (): Promise<string[]> =>
  [...String(await raw.client('LIST')).matchAll(/^id=(\d+) /gm)].map(([, id]) => id as string)

t.test('followers are notified of a release, also after a reconnect, and not after the store was closed', async t => {
  const before = await clientIds()
  const { store, leases, channel } = await open(t)
  t.equal(await listenersOf(channel), 0, 'no subscriber yet')
  let notices = 0
  let onNotice: () => void = () => undefined
  leases.watch('name', () => {
    notices++
    onNotice()
  })
  const releaseAndWait = async (token: string) => {
    const next = new Promise<void>(resolve => {
      onNotice = resolve
    })
    await leases.acquire(claim('name', token))
    await leases.release(claim('name', token), '{}', 1_000)
    await next
  }
  await until(async () => (await listenersOf(channel)) === 1)
  await releaseAndWait('a')
  await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until(async () => (await listenersOf(channel)) === 0)
  await until(async () => (await listenersOf(channel)) === 1)
  await releaseAndWait('b')
  t.equal(notices, 2)
  await store.close()
  leases.watch('name', () => t.fail('notified after the store was closed'))
  await until(async () => (await clientIds()).every(id => before.includes(id)))
  t.equal(await listenersOf(channel), 0)
})

t.test('closing while the connection is being opened leaves none open', async t => {
  const before = await clientIds()
  const { store, leases, channel } = await open(t)
  leases.watch('name', () => undefined)
  await store.close()
  await until(async () => (await clientIds()).every(id => before.includes(id)))
  t.equal(await listenersOf(channel), 0)
})

t.test('a subscription on a closed store opens no connection', async t => {
  const { store, leases } = await open(t)
  await store.close()
  const before = await clientIds()
  const stop = leases.watch('name', () => undefined)
  // Connects later than a connection for the subscription would. When it answers, the other one
  // would exist.
  const later = new Redis(server.url)
  t.teardown(() => later.disconnect())
  const laterId = `${await later.client('ID')}`
  t.same(
    (await clientIds()).filter(id => id !== laterId && !before.includes(id)),
    [],
  )
  stop()
})

t.test('a subscription keeps no process alive, with or without Redis', async t => {
  const program = fileURLToPath(new URL('./listen-until-idle.js', import.meta.url))
  const channel = `channel-${randomUUID()}`
  const listener = fork(program, [server.url, channel, 'wait'], { execArgv: [] })
  t.teardown(() => listener.kill('SIGKILL'))
  await until(async () => (await listenersOf(channel)) === 1)
  const ended = once(listener, 'exit')
  await raw.publish(channel, 'name')
  t.same(await ended, [0, null])
  const unconnected = fork(program, ['redis://127.0.0.1:1', channel, ''], { execArgv: [] })
  t.teardown(() => unconnected.kill('SIGKILL'))
  t.same(await once(unconnected, 'exit'), [0, null])
})

t.test('during the recovery a stranger sees the holder, and can neither acquire nor take over', async t => {
  const { leases, since } = await open(t, { recoveryMs: 60_000 })
  await raw.del(since)
  t.match(await leases.acquire(claim('name', 'stranger')), { kind: 'recovering' })
  t.same(await leases.renew([claim('name', 'a')]), [true])
  t.same(await leases.acquire(claim('name', 'a')), { kind: 'taken' }, 'the holder itself acquires')
  const held = await leases.acquire(claim('name', 'stranger'))
  t.match(held, { kind: 'held', snapshot: { token: 'a', heartbeat: 1 } })
  const takeover = await leases.acquire(claim('name', 'stranger'), await leases.read('name'))
  t.match(takeover, { kind: 'recovering' })
  await raw.set(since, 0)
  t.match(await leases.acquire(claim('name', 'stranger'), await leases.read('name')), { kind: 'taken' })
})

t.test('the first store sets the start of the recovery, and later ones keep it', async t => {
  const { since } = await open(t)
  const first = await raw.get(since)
  t.match(first, /^\d{13}$/)
  t.equal(await raw.pttl(since), -1)
  const other = await openRedisStore({ url: server.url, keyPrefix: since.slice(1, since.indexOf(':flights')) })
  t.teardown(() => other.close())
  t.equal(await raw.get(since), first)
})

t.test('after a clock was set back, no caller waits longer than for a new Redis', async t => {
  const { leases, since } = await open(t, { recoveryMs: 1_000 })
  await raw.set(since, Date.now() + 86_400_000)
  const outcome = await leases.acquire(claim('name', 'a'))
  t.match(outcome, { kind: 'recovering' })
  t.ok(outcome.kind === 'recovering' && outcome.waitMs <= 1_000)
  t.ok(Number(await raw.get(since)) <= Date.now() + 1_000, 'the recovery starts now')
})

t.test('all keys are in one slot, and only the start of the recovery never expires', async t => {
  const { leases, key, since } = await open(t)
  await leases.acquire(claim('one', 'a'))
  await leases.renew([claim('one', 'a'), claim('since', 'a')])
  const tag = since.slice(0, since.indexOf('}') + 1)
  const keys = (await raw.keys('*')).filter(name => name.includes(tag.slice(1, -1)))
  t.same(keys.sort(), [key('one'), key('since'), since].sort())
  t.ok(
    keys.every(name => name.startsWith(tag)),
    'the tag decides the slot',
  )
  const ttl = await raw.pttl(key('one'))
  t.ok(ttl > 50_000 && ttl <= 60_000)
  await leases.release(claim('one', 'a'), '{}', 500)
  const keep = await raw.pttl(key('one'))
  t.ok(keep > 0 && keep <= 500)
})

t.test('taking a lease tells in the same step whether the result is stored', async t => {
  const { store, leases } = await open(t)
  await store.results.put('bought', { meta: '{}', body: Buffer.from('picture') }, 60)
  t.same(await leases.acquire(claim('bought', 'a')), { kind: 'taken', isStored: true })
  t.same(await leases.acquire(claim('new', 'a')), { kind: 'taken', isStored: false })
  t.match(await leases.acquire(claim('new', 'b'), await leases.read('new')), {
    previous: { token: 'a' },
    isStored: false,
  })
})

t.test('a refusal of Redis is a StoreError, and a full Redis still accepts leases and renewals', async t => {
  const { leases, key, since } = await open(t)
  await raw.lpush(key('list'), 'x')
  await t.rejects(leases.acquire(claim('list', 'a')), {
    name: 'StoreError',
    message: /WRONGTYPE/,
    mayHaveHappened: false,
  })
  await leases.acquire(claim('name', 'a'))
  await raw.config('SET', 'maxmemory', 1, 'maxmemory-policy', 'noeviction')
  t.teardown(() => raw.config('SET', 'maxmemory', 0))
  await t.rejects(leases.release(claim('name', 'a'), '{}', 1_000), { name: 'StoreError', message: /OOM/ })
  t.same(await leases.renew([claim('name', 'a')]), [true])
  t.match(await leases.read('name'), { token: 'a', heartbeat: 1 })
  for (const known of [1, 0]) {
    await raw.config('SET', 'maxmemory', 0)
    await raw.set(since, known)
    await raw.config('SET', 'maxmemory', 1)
    t.match(await leases.acquire(claim(`new-${known}`, 'a')), { kind: 'taken' })
  }
})
