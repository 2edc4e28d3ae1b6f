import t from 'tap'
import { SharedFlights, type SharedFlightsOptions } from '../../src/cache/shared-flights.js'
import { GatewayError } from '../../src/errors.js'
import type { FlightNote, Seat } from '../../src/segment/ports.js'
import { MemoryLeases } from '../support/memory-leases.js'

const note = (callId: string): FlightNote => ({ callId, at: 1, team: 'vision', scope: '' })
const PATIENT = { waitMs: 60_000, isFollowing: false }

const options = (store: MemoryLeases): SharedFlightsOptions => ({
  store,
  ttlMs: 1_000,
  beatMs: 5,
  silenceMs: 30,
  isDraining: () => false,
  onSeat: () => {},
  onStoreFailure: () => {},
  onTakenAway: () => {},
})

function process(store = new MemoryLeases()) {
  const seats: string[] = []
  const failures: string[] = []
  const takenAway: string[] = []
  const flights = new SharedFlights({
    ...options(store),
    onSeat: role => seats.push(role),
    onStoreFailure: (_error, doing) => failures.push(doing),
    onTakenAway: name => takenAway.push(name),
  })
  t.teardown(() => flights.close())
  return { flights, store, seats, failures, takenAway }
}

function asLeader(seat: Seat): Extract<Seat, { role: 'leader' }> {
  if (seat.role !== 'leader') throw new Error('it follows')
  return seat
}

const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('the first leads, the second follows and hears how it landed', async t => {
  const one = process()
  const other = process(one.store)
  const seat = asLeader(await one.flights.take('n', note('a'), PATIENT))
  t.equal(seat.purchase, 'first')
  const following = other.flights.take('n', note('b'), PATIENT)
  await turn()
  seat.land({ error: new GatewayError('upstream_busy', 'wait', { retryAfterSeconds: 7, cause: 'a secret' }) })
  t.match(await following, {
    role: 'follower',
    leader: note('a'),
    landing: { error: { code: 'upstream_busy', message: 'wait', retryAfterSeconds: 7, billed: 'no' } },
  })
  t.notMatch(JSON.stringify([...one.store.names]), /secret/)
  t.same([one.seats, other.seats], [['leader'], ['follower']])
  t.equal(one.flights.size, 0)
  t.equal(one.store.watchers, 0)
})

t.test('whoever comes after a landing leads at once', async t => {
  const one = process()
  asLeader(await one.flights.take('n', note('a'), PATIENT)).land({})
  const next = asLeader(await process(one.store).flights.take('n', note('b'), PATIENT))
  t.match(next, { purchase: 'first', earlier: undefined })
})

t.test('a landing that leaves a job open tells the next leader whose', async t => {
  const one = process()
  asLeader(await one.flights.take('n', note('a'), PATIENT)).land({ openJob: note('a') })
  t.match(await one.flights.take('n', note('b'), PATIENT), { purchase: 'first', earlier: note('a') })
})

t.test('of two who wait for a dead leader exactly one takes over', async t => {
  const store = new MemoryLeases()
  store.names.set('n', { token: 'dead', beat: 9, note: JSON.stringify(note('dead')) })
  const processes = [process(store), process(store), process(store)]
  const taking = processes.map(({ flights }, index) => flights.take('n', note(`s${index}`), PATIENT))
  const first = asLeader(await Promise.race(taking))
  t.match(first, { purchase: 'takeover', earlier: note('dead') })
  for (let beats = 0; beats < 20; beats++) await turn()
  first.land({})
  const seats = await Promise.all(taking)
  t.equal(seats.filter(({ role }) => role === 'leader').length, 1)
})

t.test('a leader that was frozen and taken over from hears of it, and lands nothing', async t => {
  const frozen = process()
  const seat = asLeader(await frozen.flights.take('n', note('a'), PATIENT))
  frozen.store.names.set('n', { token: 'b', beat: 0, note: JSON.stringify(note('b')) })
  while (frozen.takenAway.length === 0) await turn()
  t.same(frozen.takenAway, ['n'])
  seat.land({})
  await turn()
  t.equal(frozen.store.names.get('n')?.parting, undefined)
})

t.test('silence is not believed while the store does not answer', async t => {
  const store = new MemoryLeases()
  store.names.set('n', { token: 'a', beat: 1, note: JSON.stringify(note('a')) })
  const one = process(store)
  const look = store.look.bind(store)
  let looks = 0
  // Every second look fails: there are never 30 ms in a row that were observed.
  store.look = async name => {
    looks++
    if (looks % 2 === 0) throw new Error('down')
    return look(name)
  }
  const taking = one.flights.take('n', note('b'), PATIENT)
  while (looks < 30) await turn()
  t.same(one.seats, [])
  await store.land({ name: 'n', token: 'a' }, '{}')
  t.match(await taking, { role: 'follower' })
})

t.test('patience ends while another one leads', async t => {
  const one = process()
  await one.flights.take('n', note('a'), PATIENT)
  const other = process(one.store)
  await t.rejects(other.flights.take('n', note('b'), { waitMs: 20, isFollowing: false }), {
    code: 'upstream_slow',
    billed: 'unknown',
    retryAfterSeconds: 5,
  })
  t.equal(one.store.watchers, 0)
})

t.test('a landing the store did not hear of is told again, and not undone by a beat', async t => {
  const one = process()
  const seat = asLeader(await one.flights.take('n', note('a'), PATIENT))
  one.store.isDown = true
  seat.land({})
  await turn()
  t.equal(one.flights.size, 1)
  t.ok(one.failures.includes('leases: land'))
  one.store.isDown = false
  while (one.flights.size > 0) await turn()
  t.equal(one.store.names.get('n')?.parting, '{}')
  const beats = one.store.names.get('n')?.beat
  for (let turns = 0; turns < 20; turns++) await turn()
  t.equal(one.store.names.get('n')?.beat, beats)
})

t.test('a beat that was under way when the flight landed does not take the name back', async t => {
  const one = process()
  const seat = asLeader(await one.flights.take('n', note('a'), PATIENT))
  const land = one.store.land.bind(one.store)
  let beatAfterLanding = false
  one.store.land = async (claim, parting) => {
    await land(claim, parting)
    const before = one.store.names.get('n')?.beat
    // The landing's answer is still on its way while beats go on.
    for (let turns = 0; turns < 50; turns++) await turn()
    beatAfterLanding = one.store.names.get('n')?.beat !== before
  }
  seat.land({})
  while (one.flights.size > 0) await turn()
  t.equal(beatAfterLanding, false)
  t.equal(one.store.names.get('n')?.parting, '{}')
})

t.test('a store that stops for a moment is waited for; in an outage purchases go on without it', async t => {
  const store = new MemoryLeases()
  const one = process(store)
  store.isDown = true
  const taking = one.flights.take('n', note('a'), PATIENT)
  for (let turns = 0; turns < 20; turns++) await turn()
  store.isDown = false
  t.match(await taking, { purchase: 'first' })
  t.same(one.seats, ['leader'])

  store.isDown = true
  const impatient = new SharedFlights({ ...options(store), outageGraceMs: 0 })
  t.teardown(() => impatient.close())
  t.match(await impatient.take('m', note('b'), PATIENT), { purchase: 'unguarded' })
})

t.test('what another version has written is read as far as it goes', async t => {
  const store = new MemoryLeases()
  const one = process(store)
  store.names.set('n', { token: 'x', beat: 1, note: 'not json', parting: '{"error":{"code":"novel","detail":"?"}}' })
  t.same(await one.flights.look('n'), { note: { callId: '', at: 0, team: '', scope: '' }, landing: {} })
  store.isDown = true
  t.equal(await one.flights.look('n'), undefined)
})
