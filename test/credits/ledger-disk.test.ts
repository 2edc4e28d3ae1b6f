import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { Reservation } from '../../src/segment/ports.js'
import { type LedgerStore, type Store, StoreError } from '../../src/storage.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openDiskSpool } from '../../src/store/embedded/spool.js'
import { aCaller } from '../support/team.js'
import { aPlan, ledgerWorld, NOON, ORPHAN_AFTER_MS, startProcess, type Weather, type World } from './ledger-world.js'

const command = fc.record({
  weather: fc.constantFrom<Weather>('up', 'up', 'up', 'down', 'cut', 'frozen'),
  what: fc.constantFrom('call', 'call', 'submitted', 'settle', 'unknown', 'release', 'flush', 'kill'),
  call: fc.nat(7),
})

t.test('with a real store and a spool on disk, the totals are those of the entries', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'ledger-disk-'))
  const store = await openEmbeddedStore({ dir: join(dir, 'store'), maxBytes: 1e6 })
  const spool = openDiskSpool({ dir: join(dir, 'spool') })
  t.teardown(async () => {
    await Promise.all([store.close(), spool.close()])
    await rm(dir, { recursive: true })
  })
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 25 }), async commands => {
      const world = ledgerWorld()
      // Each run has its own team, and with it its own books.
      const team = `team-${++runs}`
      const start = () => startProcess(world, { store: inWeather(store.ledger, world), spool })
      const made: { callId: string; reservation: Reservation; end?: string }[] = []
      let process = start()
      for (const { weather, what, call: index } of commands) {
        if (world.weather === 'frozen') world.thaw()
        world.weather = weather
        const call = made[index]
        if (what === 'call') {
          const callId = `${team}-${made.length}`
          made.push({ callId, reservation: await process.ledger.reserve(aPlan(callId, aCaller({ id: team }))) })
        } else if (what === 'flush') {
          await process.unsaved.flush()
        } else if (what === 'kill') {
          process.kill()
          for (const call of made) call.end ??= 'unknown'
          process = start()
        } else if (call && !call.end) {
          if (what === 'submitted') await call.reservation.submitted('job')
          else call.end = await endBy(call.reservation, what)
        }
      }
      process.kill()
      world.thaw()
      world.now = NOON + 3_600_000
      process = start()
      await process.recovery.sweep()
      process.kill()
      const wanted = made
        .map(({ callId, end = 'unknown' }) => [callId, end] as const)
        .filter(([, end]) => end !== 'gone')
      await check(store, team, new Map(wanted))
      if ((await spool.all()).length > 0) throw new Error('steps are left over')
    }),
    { numRuns: 60 },
  )
  t.same(await store.ledger.open(NOON + ORPHAN_AFTER_MS, 10), [])
})

/** The store's steps as the world's weather lets them through. */
function inWeather(ledger: LedgerStore, world: World): Partial<LedgerStore> {
  const reach = async <T>(step: () => Promise<T>): Promise<T> => {
    if (world.weather === 'down') throw new StoreError('down', { mayHaveHappened: false })
    if (world.weather === 'frozen') {
      world.late.push(step)
      throw new StoreError('frozen')
    }
    const answer = await step()
    if (world.weather === 'cut') throw new StoreError('cut')
    return answer
  }
  return {
    reserve: (...of) => reach(() => ledger.reserve(...of)),
    note: (...of) => reach(() => ledger.note(...of)),
    settle: (...of) => reach(() => ledger.settle(...of)),
    release: (...of) => reach(() => ledger.release(...of)),
    entry: (...of) => reach(() => ledger.entry(...of)),
    open: (...of) => reach(() => ledger.open(...of)),
  }
}

async function endBy(reservation: Reservation, what: string): Promise<string> {
  if (what === 'settle') return `charged ${await reservation.settle({ cost: 7 })}`
  if (what === 'unknown') await reservation.unknown()
  else await reservation.release()
  return what === 'unknown' ? 'unknown' : 'gone'
}

/** Entries, the day's totals and what counts against the budgets all say the same. */
async function check({ ledger }: Store, team: string, wanted: Map<string, string>): Promise<void> {
  const entries = (await ledger.entries('2026-11-22')).filter(entry => entry.team === team)
  const stand = entries.map(({ callId, state, settled }) => [
    callId,
    state === 'charged' ? `charged ${settled?.cost}` : state,
  ])
  const difference = JSON.stringify([stand.sort(), [...wanted].sort()])
  if (JSON.stringify(stand) !== JSON.stringify([...wanted].sort())) throw new Error(difference)
  const sum = entries.reduce((total, { settled }) => total + (settled?.cost ?? Number.NaN), 0)
  const booked = await ledger.booked(team, { day: '2026-11-22', month: '2026-11' })
  if (booked.daily !== sum || booked.monthly !== sum) throw new Error(`booked ${JSON.stringify(booked)}, not ${sum}`)
  const [day] = await ledger.usage('2026-11', team)
  const totals = (day?.charged ?? 0) + (day?.unknown ?? 0)
  if (totals !== sum || (day?.reservedCalls ?? 0) !== 0 || (day?.reserved ?? 0) !== 0) throw new Error('other totals')
}
