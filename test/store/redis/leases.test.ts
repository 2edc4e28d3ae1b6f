import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { LeaseClaim } from '../../../src/storage.js'
import { openRedisStore, type RedisStoreOptions } from '../../../src/store/redis/redis-store.js'
import { startRedis } from '../../support/redis-server.js'

const server = await startRedis()
const raw = new Redis(server.url)
t.teardown(() => {
  raw.disconnect()
  return server.close()
})

const claim = (name: string, token: string): LeaseClaim => ({ name, token, note: '{}', ttlMs: 60_000 })

/** A store under a prefix that Redis has not seen yet. */
async function open(t: Test, options: Partial<RedisStoreOptions> = {}) {
  const keyPrefix = `leases-${randomUUID()}`
  const store = await openRedisStore({ url: server.url, keyPrefix, settleMs: 0, ...options })
  t.teardown(() => store.close())
  const key = (name: string) => `{${keyPrefix}:flights}:lease:${name}`
  const channel = `${keyPrefix}:flights:landed`
  return { store, leases: store.leases, key, channel, since: `{${keyPrefix}:flights}:since` }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition()));
}

const listenersOf = async (channel: string): Promise<number> =>
  Number(((await raw.call('PUBSUB', 'NUMSUB', channel)) as unknown[])[1])

const clientIds = async (): Promise<string[]> =>
  [...String(await raw.client('LIST')).matchAll(/^id=(\d+) /gm)].map(([, id]) => id as string)

t.test(
  'a landing is told to who listens, again after the line was lost, and to nobody once the store is closed',
  async t => {
    const before = await clientIds()
    const { store, leases, channel } = await open(t)
    t.equal(await listenersOf(channel), 0, 'nobody watches yet')
    let told = 0
    let heard: () => void = () => undefined
    leases.watch('name', () => {
      told++
      heard()
    })
    const landing = async (token: string) => {
      const next = new Promise<void>(resolve => {
        heard = resolve
      })
      await leases.acquire(claim('name', token))
      await leases.land(claim('name', token), '{}', 1_000)
      await next
    }
    await until(async () => (await listenersOf(channel)) === 1)
    await landing('a')
    await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(async () => (await listenersOf(channel)) === 0)
    await until(async () => (await listenersOf(channel)) === 1)
    await landing('b')
    t.equal(told, 2)
    await store.close()
    leases.watch('name', () => t.fail('told after it was closed'))
    await until(async () => (await clientIds()).every(id => before.includes(id)))
    t.equal(await listenersOf(channel), 0)
  },
)

t.test('closing while the line is being made leaves nothing open', async t => {
  const before = await clientIds()
  const { store, leases, channel } = await open(t)
  leases.watch('name', () => undefined)
  await store.close()
  await until(async () => (await clientIds()).every(id => before.includes(id)))
  t.equal(await listenersOf(channel), 0)
})

t.test('watching a store that is closed opens nothing', async t => {
  const { store, leases } = await open(t)
  await store.close()
  const before = await clientIds()
  const stop = leases.watch('name', () => undefined)
  // Connects later than a line for the watcher would, and is there when it has answered.
  const later = new Redis(server.url)
  t.teardown(() => later.disconnect())
  const laterId = `${await later.client('ID')}`
  t.same(
    (await clientIds()).filter(id => id !== laterId && !before.includes(id)),
    [],
  )
  stop()
})

t.test('listening keeps no process alive, whether Redis is there or not', async t => {
  const program = fileURLToPath(new URL('./listen-until-idle.js', import.meta.url))
  const channel = `channel-${randomUUID()}`
  const listener = fork(program, [server.url, channel, 'wait'], { execArgv: [] })
  t.teardown(() => listener.kill('SIGKILL'))
  await until(async () => (await listenersOf(channel)) === 1)
  const ended = once(listener, 'exit')
  await raw.publish(channel, 'name')
  t.same(await ended, [0, null])
  const inVain = fork(program, ['redis://127.0.0.1:1', channel, ''], { execArgv: [] })
  t.teardown(() => inVain.kill('SIGKILL'))
  t.same(await once(inVain, 'exit'), [0, null])
})

t.test('while it settles a stranger learns who holds a name, and may neither take one nor take one over', async t => {
  const { leases, since } = await open(t, { settleMs: 60_000 })
  await raw.del(since)
  t.match(await leases.acquire(claim('name', 'stranger')), { kind: 'settling' })
  t.same(await leases.beat([claim('name', 'a')]), [true])
  t.same(await leases.acquire(claim('name', 'a')), { kind: 'taken' }, 'the holder itself')
  const held = await leases.acquire(claim('name', 'stranger'))
  t.match(held, { kind: 'held', sight: { token: 'a', beat: 1 } })
  const takeover = await leases.acquire(claim('name', 'stranger'), await leases.look('name'))
  t.match(takeover, { kind: 'settling' })
  await raw.set(since, 0)
  t.match(await leases.acquire(claim('name', 'stranger'), await leases.look('name')), { kind: 'taken' })
})

t.test('a store that comes up says so, and one that was there before keeps the older time', async t => {
  const { since } = await open(t)
  const first = await raw.get(since)
  t.match(first, /^\d{13}$/)
  t.equal(await raw.pttl(since), -1)
  const other = await openRedisStore({ url: server.url, keyPrefix: since.slice(1, since.indexOf(':flights')) })
  t.teardown(() => other.close())
  t.equal(await raw.get(since), first)
})

t.test('a clock that was put back makes nobody wait for longer than a new Redis does', async t => {
  const { leases, since } = await open(t, { settleMs: 1_000 })
  await raw.set(since, Date.now() + 86_400_000)
  const outcome = await leases.acquire(claim('name', 'a'))
  t.match(outcome, { kind: 'settling' })
  t.ok(outcome.kind === 'settling' && outcome.waitMs <= 1_000)
  t.ok(Number(await raw.get(since)) <= Date.now() + 1_000, 'it counts from now on')
})

t.test('all keys are of one slot, and only the time of the store stays for ever', async t => {
  const { leases, key, since } = await open(t)
  await leases.acquire(claim('one', 'a'))
  await leases.beat([claim('one', 'a'), claim('since', 'a')])
  const tag = since.slice(0, since.indexOf('}') + 1)
  const keys = (await raw.keys('*')).filter(name => name.includes(tag.slice(1, -1)))
  t.same(keys.sort(), [key('one'), key('since'), since].sort())
  t.ok(
    keys.every(name => name.startsWith(tag)),
    'the tag decides the slot',
  )
  const ttl = await raw.pttl(key('one'))
  t.ok(ttl > 50_000 && ttl <= 60_000)
  await leases.land(claim('one', 'a'), '{}', 500)
  const keep = await raw.pttl(key('one'))
  t.ok(keep > 0 && keep <= 500)
})

t.test('what Redis refuses is a StoreError, and a Redis that is full still takes beats', async t => {
  const { leases, key } = await open(t)
  await raw.lpush(key('list'), 'x')
  await t.rejects(leases.acquire(claim('list', 'a')), {
    name: 'StoreError',
    message: /WRONGTYPE/,
    mayHaveHappened: false,
  })
  await leases.acquire(claim('name', 'a'))
  await raw.config('SET', 'maxmemory', 1, 'maxmemory-policy', 'noeviction')
  t.teardown(() => raw.config('SET', 'maxmemory', 0))
  await t.rejects(leases.land(claim('name', 'a'), '{}', 1_000), { name: 'StoreError', message: /OOM/ })
  t.same(await leases.beat([claim('name', 'a')]), [true])
  t.match(await leases.look('name'), { token: 'a', beat: 1 })
})
