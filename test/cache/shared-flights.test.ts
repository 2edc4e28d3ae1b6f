import t from 'tap'
import { SharedFlights, type SharedFlightsOptions } from '../../src/cache/shared-flights.js'
import { GatewayError } from '../../src/contracts/errors.js'
import type { FlightNote, FlightRole } from '../../src/segment/ports.js'
import { MemoryLeases } from '../support/doubles/memory-leases.js'
import { eventually } from '../support/eventually.js'

const note = (callId: string): FlightNote => ({ callId, at: 1, team: 'vision', scope: '' })
const PATIENT = { waitMs: 60_000, isFollowing: false }

const options = (store: MemoryLeases): SharedFlightsOptions => ({
  store,
  ttlMs: 1_000,
  heartbeatMs: 5,
  silenceMs: 30,
  isDraining: () => false,
  observer: { storeFailed: () => {}, flightJoined: () => {}, leaseTakenOver: () => {} },
})

function openProcess(store = new MemoryLeases()) {
  const roles: string[] = []
  const failures: string[] = []
  const lost: string[] = []
  const flights = new SharedFlights({
    ...options(store),
    observer: {
      storeFailed: (_error, operation) => failures.push(operation),
      flightJoined: role => roles.push(role),
      leaseTakenOver: name => lost.push(name),
    },
  })
  t.teardown(() => flights.close())
  return { flights, store, roles, failures, lost }
}

function asLeader(role: FlightRole): Extract<FlightRole, { role: 'leader' }> {
  if (role.role !== 'leader') throw new Error('the process follows instead of leading')
  return role
}

const nextIteration = () => new Promise(resolve => setImmediate(resolve))

t.test('the first process leads, and the second follows and learns the outcome', async t => {
  const one = openProcess()
  const other = openProcess(one.store)
  const role = asLeader(await one.flights.take('n', note('a'), PATIENT))
  t.equal(role.purchase, 'first')
  const following = other.flights.take('n', note('b'), PATIENT)
  await nextIteration()
  role.end({ error: new GatewayError('upstream_busy', 'wait', { retryAfterSeconds: 7, cause: 'a secret' }) })
  t.match(await following, {
    role: 'follower',
    leader: note('a'),
    outcome: { error: { code: 'upstream_busy', message: 'wait', retryAfterSeconds: 7, billed: 'no' } },
  })
  t.notMatch(JSON.stringify([...one.store.names]), /secret/)
  t.same([one.roles, other.roles], [['leader'], ['follower']])
  t.equal(one.flights.size, 0)
  t.equal(one.store.watchers, 0)
})

t.test('a process that comes after the release leads at once', async t => {
  const one = openProcess()
  asLeader(await one.flights.take('n', note('a'), PATIENT)).end({})
  const next = asLeader(await openProcess(one.store).flights.take('n', note('b'), PATIENT))
  t.match(next, { purchase: 'first', earlier: undefined })
})

t.test('a release with an open job tells the next leader whose job it is', async t => {
  const one = openProcess()
  asLeader(await one.flights.take('n', note('a'), PATIENT)).end({ openJob: note('a') })
  t.match(await one.flights.take('n', note('b'), PATIENT), { purchase: 'first', earlier: note('a') })
})

t.test('exactly one of the processes that follow a dead leader takes over', async t => {
  const store = new MemoryLeases()
  store.names.set('n', { token: 'dead', heartbeat: 9, note: JSON.stringify(note('dead')) })
  const followers = [openProcess(store), openProcess(store), openProcess(store)]
  const taking = followers.map(({ flights }, index) => flights.take('n', note(`s${index}`), PATIENT))
  const first = asLeader(await Promise.race(taking))
  t.match(first, { purchase: 'takeover', earlier: note('dead') })
  for (let iterations = 0; iterations < 20; iterations++) await nextIteration()
  first.end({})
  const seats = await Promise.all(taking)
  t.equal(seats.filter(({ role }) => role === 'leader').length, 1)
})

t.test('a frozen leader that lost its lease is informed and releases nothing', async t => {
  const frozen = openProcess()
  const role = asLeader(await frozen.flights.take('n', note('a'), PATIENT))
  frozen.store.names.set('n', { token: 'b', heartbeat: 0, note: JSON.stringify(note('b')) })
  await eventually('the lease was never lost', () => frozen.lost.length > 0)
  t.same(frozen.lost, ['n'])
  role.end({})
  await nextIteration()
  t.equal(frozen.store.names.get('n')?.outcome, undefined)
})

t.test('callers with less patience than the silence of a dead leader take it over together', async t => {
  const store = new MemoryLeases()
  // The heartbeat has ended, and the lease is never released.
  store.names.set('n', { token: 'a', heartbeat: 9, note: JSON.stringify(note('a')) })
  const other = openProcess(store)
  await t.rejects(other.flights.take('n', note('b'), { waitMs: 10, isFollowing: false }), { code: 'upstream_slow' })
  const role = await eventually('the dead leader was never replaced', () =>
    other.flights.take('n', note('c'), { waitMs: 1, isFollowing: false }).catch(() => undefined),
  )
  t.match(asLeader(role), { purchase: 'takeover', earlier: { callId: 'a' } })
})

t.test('a leader that lives is not taken over, however impatient the callers are', async t => {
  const one = openProcess()
  const other = openProcess(one.store)
  const role = asLeader(await one.flights.take('n', note('a'), PATIENT))
  for (let time = 0; time < 20; time++)
    await t.rejects(other.flights.take('n', note('b'), { waitMs: 5, isFollowing: false }), { code: 'upstream_slow' })
  await nextIteration()
  t.same(other.roles, [])
  role.end({})
  await other.flights.close()
  await eventually('a watcher outlived its process', () => one.store.watchers === 0)
})

t.test('silence does not count while the store fails', async t => {
  const store = new MemoryLeases()
  store.names.set('n', { token: 'a', heartbeat: 1, note: JSON.stringify(note('a')) })
  const one = openProcess(store)
  const read = store.read.bind(store)
  let reads = 0
  // Every second read fails, so 30 ms of silence are never observed in a row.
  store.read = async name => {
    reads++
    if (reads % 2 === 0) throw new Error('down')
    return read(name)
  }
  const taking = one.flights.take('n', note('b'), PATIENT)
  await eventually('the lease was read fewer than 30 times', () => reads >= 30)
  t.same(one.roles, [])
  await store.release({ name: 'n', token: 'a' }, '{}')
  t.match(await taking, { role: 'follower' })
})

t.test('a follower stops waiting at its deadline', async t => {
  const one = openProcess()
  await one.flights.take('n', note('a'), PATIENT)
  const other = openProcess(one.store)
  await t.rejects(other.flights.take('n', note('b'), { waitMs: 20, isFollowing: false }), {
    code: 'upstream_slow',
    billed: 'unknown',
    retryAfterSeconds: 5,
  })
  t.equal(one.store.watchers, 1, 'the holder is watched on without the caller')
  await other.flights.close()
  await eventually('a watcher outlived its process', () => one.store.watchers === 0)
})

t.test('a failed release is retried and not undone by a renewal', async t => {
  const one = openProcess()
  const role = asLeader(await one.flights.take('n', note('a'), PATIENT))
  one.store.isDown = true
  role.end({})
  await nextIteration()
  t.equal(one.flights.size, 1)
  t.ok(one.failures.includes('leases: land'))
  one.store.isDown = false
  await eventually('the flight never ended', () => one.flights.size === 0)
  t.equal(one.store.names.get('n')?.outcome, '{}')
  const heartbeat = one.store.names.get('n')?.heartbeat
  for (let iterations = 0; iterations < 20; iterations++) await nextIteration()
  t.equal(one.store.names.get('n')?.heartbeat, heartbeat)
})

t.test('a renewal under way during the release does not take the name back', async t => {
  const one = openProcess()
  const role = asLeader(await one.flights.take('n', note('a'), PATIENT))
  const release = one.store.release.bind(one.store)
  let isRenewedAfterRelease = false
  one.store.release = async (claim, outcome) => {
    await release(claim, outcome)
    const before = one.store.names.get('n')?.heartbeat
    // Renewals run while the answer to the release is still on its way.
    for (let iterations = 0; iterations < 50; iterations++) await nextIteration()
    isRenewedAfterRelease = one.store.names.get('n')?.heartbeat !== before
  }
  role.end({})
  await eventually('the flight never ended', () => one.flights.size === 0)
  t.equal(isRenewedAfterRelease, false)
  t.equal(one.store.names.get('n')?.outcome, '{}')
})

t.test('a purchase waits for a store that fails briefly, and proceeds without it in an outage', async t => {
  const store = new MemoryLeases()
  const one = openProcess(store)
  store.isDown = true
  const taking = one.flights.take('n', note('a'), PATIENT)
  for (let iterations = 0; iterations < 20; iterations++) await nextIteration()
  store.isDown = false
  t.match(await taking, { purchase: 'first' })
  t.same(one.roles, ['leader'])

  store.isDown = true
  const impatient = new SharedFlights({ ...options(store), outageGraceMs: 0 })
  t.teardown(() => impatient.close())
  t.match(await impatient.take('m', note('b'), PATIENT), { purchase: 'unguarded' })
})

t.test('notes and outcomes of another version are read as far as possible', async t => {
  const store = new MemoryLeases()
  const one = openProcess(store)
  store.names.set('n', {
    token: 'x',
    heartbeat: 1,
    note: 'not json',
    outcome: '{"error":{"code":"novel","detail":"?"}}',
  })
  t.same(await one.flights.look('n'), { note: { callId: '', at: 0, team: '', scope: '' }, outcome: {} })
  store.isDown = true
  t.equal(await one.flights.look('n'), undefined)
})
