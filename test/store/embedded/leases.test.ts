import t, { type Test } from 'tap'
import { openEnvironment } from '../../../src/store/embedded/environment.js'
import { createLeases } from '../../../src/store/embedded/leases.js'

const claim = (name: string, token: string, ttlMs = 60_000) => ({ name, token, note: '{}', ttlMs })

function openLeases(t: Test) {
  const clock = { now: 1_764_547_200_000 }
  const environment = openEnvironment(t.testdir(), 'ledger', 2 ** 24)
  t.teardown(() => environment.close())
  const leases = createLeases(environment, () => clock.now)
  const held = () => environment.root.openDB<unknown, string>('leases', {}).getKeysCount()
  return { leases, clock, held, environment }
}

t.test('what has expired is taken out, more than one batch of it, and nothing else', async t => {
  const { leases, clock, held } = openLeases(t)
  await Promise.all(Array.from({ length: 250 }, (_, index) => leases.acquire(claim(`brief-${index}`, 'a', 1_000))))
  await leases.acquire(claim('long', 'a'))
  await leases.acquire(claim('landed', 'a'))
  await leases.land(claim('landed', 'a'), '{}', 1_000)
  await leases.purge()
  t.equal(held(), 252)
  clock.now += 1_000
  t.equal(await leases.look('brief-0'), undefined, 'it counts as gone before it is taken out')
  t.same(await leases.acquire(claim('brief-0', 'b')), { kind: 'taken' })
  await leases.purge()
  t.equal(held(), 2)
  t.match(await leases.look('long'), { token: 'a' })
  t.match(await leases.look('brief-0'), { token: 'b' })
})

t.test('a beat puts the end off, and a landing sets another', async t => {
  const { leases, clock } = openLeases(t)
  await leases.acquire(claim('name', 'a', 1_000))
  clock.now += 999
  t.same(await leases.beat([claim('name', 'a', 1_000)]), [true])
  clock.now += 999
  t.match(await leases.look('name'), { beat: 1 })
  await leases.land(claim('name', 'a'), '{}', 10)
  clock.now += 9
  t.match(await leases.look('name'), { parting: '{}' })
  clock.now += 1
  t.equal(await leases.look('name'), undefined)
})

t.test('who waits is told when the landing is on disk, and not of what was no landing', async t => {
  const { leases } = openLeases(t)
  let told = 0
  const stop = leases.watch('name', () => told++)
  await leases.acquire(claim('name', 'a'))
  await leases.land(claim('name', 'stranger'), '{}', 1_000)
  t.equal(told, 0)
  await leases.land(claim('name', 'a'), '{}', 1_000)
  t.equal(told, 1)
  stop()
  await leases.acquire(claim('name', 'b'))
  await leases.land(claim('name', 'b'), '{}', 1_000)
  t.equal(told, 1)
})

t.test('a store that cannot be used is a StoreError', async t => {
  const { leases, environment } = openLeases(t)
  await environment.close()
  for (const step of [
    leases.acquire(claim('name', 'a')),
    leases.beat([claim('name', 'a')]),
    leases.land(claim('name', 'a'), '{}', 1_000),
    leases.look('name'),
  ])
    await t.rejects(step as Promise<unknown>, { name: 'StoreError' })
})
