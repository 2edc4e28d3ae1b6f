import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { type LedgerStore, type Store, StoreError } from '../../src/contracts/store.js'
import type { Reservation } from '../../src/segment/ports.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { openDiskSpool } from '../../src/store/embedded/spool.js'
import { aCaller } from '../support/doubles/team.js'
import { entriesOf } from '../support/entries-of.js'
import { aPlan, ledgerWorld, NOON, ORPHAN_AFTER_MS, type StoreMode, startProcess, type World } from './ledger-world.js'

const command = fc.record({
  storeMode: fc.constantFrom<StoreMode>('up', 'up', 'up', 'down', 'cut', 'frozen'),
  what: fc.constantFrom('call', 'call', 'submitted', 'settle', 'unknown', 'release', 'flush', 'kill'),
  call: fc.nat(7),
})

t.test('with a real store and a spool on disk, the totals match the entries', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'ledger-disk-'))
  const store = await openEmbeddedStore({ dir: join(dir, 'store'), maxBytes: 1e6 })
  const spool = await openDiskSpool({ dir: join(dir, 'spool') })
  t.teardown(async () => {
    await Promise.all([store.close(), spool.close()])
    await rm(dir, { recursive: true })
  })
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 25 }), async commands => {
      const world = ledgerWorld()
      // Each run has its own team, and so its own totals.
      const team = `team-${++runs}`
      const start = () => startProcess(world, { store: inStoreMode(store.ledger, world), spool })
      const made: { callId: string; reservation: Reservation; end?: string }[] = []
      let process = start()
      for (const { storeMode, what, call: index } of commands) {
        if (world.storeMode === 'frozen') world.thaw()
        world.storeMode = storeMode
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
  t.same(await store.ledger.reservedBefore(NOON + ORPHAN_AFTER_MS, 10), [])
})

/** Applies the world's store mode to the real store. */
function inStoreMode(ledger: LedgerStore, world: World): Partial<LedgerStore> {
  const reach = async <T>(step: () => Promise<T>): Promise<T> => {
    if (world.storeMode === 'down') throw new StoreError('down', { mayHaveHappened: false })
    if (world.storeMode === 'frozen') {
      world.late.push(step)
      throw new StoreError('frozen')
    }
    const answer = await step()
    if (world.storeMode === 'cut') throw new StoreError('cut')
    return answer
  }
  return {
    reserve: (...of) => reach(() => ledger.reserve(...of)),
    note: (...of) => reach(() => ledger.note(...of)),
    settle: (...of) => reach(() => ledger.settle(...of)),
    release: (...of) => reach(() => ledger.release(...of)),
    entry: (...of) => reach(() => ledger.entry(...of)),
    reservedBefore: (...of) => reach(() => ledger.reservedBefore(...of)),
  }
}

async function endBy(reservation: Reservation, what: string): Promise<string> {
  if (what === 'settle') return `charged ${await reservation.settle({ cost: 7 })}`
  if (what === 'unknown') await reservation.unknown()
  else await reservation.release()
  return what === 'unknown' ? 'unknown' : 'gone'
}

/** Checks that entries, totals of the day and booked budgets agree. */
async function check({ ledger }: Store, team: string, wanted: Map<string, string>): Promise<void> {
  const entries = (await entriesOf(ledger, '2026-11-22')).filter(entry => entry.team === team)
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
