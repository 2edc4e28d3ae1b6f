import fc from 'fast-check'
import t from 'tap'
import type { LedgerEntry } from '../../src/contracts/store.js'
import type { Reservation } from '../../src/segment/ports.js'
import { aCaller } from '../support/doubles/team.js'
import {
  aPlan,
  ESTIMATE,
  ledgerWorld,
  NOON,
  ORPHAN_AFTER_MS,
  quiet,
  type StoreMode,
  startProcess,
} from './ledger-world.js'

type End = { kind: 'charged'; cost: number } | { kind: 'unknown' } | { kind: 'released' }

type Command =
  | { do: 'call'; team: 'free' | 'capped'; process: number }
  | { do: 'note'; call: number }
  | { do: 'end'; call: number; how: End }
  | { do: 'flush'; process: number }
  | { do: 'storeMode'; storeMode: StoreMode }
  | { do: 'kill'; process: number }
  | { do: 'wait'; steps: number }

/** One call, as its process sees it. */
interface PlannedCall {
  estimate?: number
  team: 'free' | 'capped'
  process: ReturnType<typeof startProcess>
  /** Set once the call may be made. */
  reservation?: Reservation
  isRefused: boolean
  end?: End
  hasEnded: boolean
}

const LIMIT = 5 * ESTIMATE
const TEAMS = {
  free: aCaller({ id: 'free' }),
  capped: aCaller({ id: 'capped', budget: { daily: LIMIT } }),
}

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('call' as const), team: teamName(), process: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('note' as const), call: fc.nat(9) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('end' as const), call: fc.nat(9), how: anEnd() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const), process: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('storeMode' as const), storeMode: aStoreMode() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), process: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), steps: fc.integer({ min: 1, max: 8 }) }) },
)

t.test('under any sequence of failures, each call is booked once and no budget is overspent', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 40 }), fc.infiniteStream(fc.nat(999)), async (commands, luck) => {
      const scene = stage(luck)
      for (const command of commands) {
        await scene.run(command)
        scene.checkBudget()
      }
      await scene.finish()
      scene.checkBudget()
      scene.checkEntries()
    }),
    { numRuns: 400 },
  )
  t.pass('all runs passed')
})

/**
 * Two processes over one store and one spool. Each step pauses until `luck` picks it to continue.
 */
function stage(luck: Iterator<number>) {
  const stopped: (() => void)[] = []
  const world = ledgerWorld({ pause: () => new Promise(resolve => stopped.push(resolve)) })
  const start = () => {
    const process = startProcess(world, {
      resume: async ({ callId, at }) => (await process.ledger.find(callId, at))?.reservation.unknown(),
    })
    return process
  }
  const processes = [start(), start()]
  const calls: PlannedCall[] = []

  const resume = async (steps: number) => {
    for (let step = 0; step < steps; step++) {
      await quiet()
      const index = (luck.next().value as number) % Math.max(1, stopped.length)
      stopped.splice(index, 1)[0]?.()
    }
    await quiet()
  }
  const untilIdle = async () => {
    for (await quiet(); stopped.length > 0; await quiet()) await resume(1)
  }
  const kill = (index: number) => {
    processes[index]?.kill()
    processes[index] = start()
  }

  const steps: { [Name in Command['do']]: (command: Extract<Command, { do: Name }>) => void | Promise<void> } = {
    call({ team, process: index }) {
      const process = processes[index]!
      const call: PlannedCall = { team, process, isRefused: false, hasEnded: false }
      process.ledger.reserve(aPlan(`c${calls.push(call)}`, TEAMS[team])).then(
        async reservation => Object.assign(call, { estimate: await reservation.costOf({}), reservation }),
        () => Object.assign(call, { isRefused: true }),
      )
    },
    note: ({ call }) => void calls[call]?.reservation?.submitted('job'),
    end({ call: index, how }) {
      const call = calls[index]
      if (!call?.reservation || call.end) return
      call.end = 'cost' in how ? { ...how, cost: Math.min(how.cost, call.estimate ?? 0) } : how
      void endOf(call.reservation, call.end).then(() => Object.assign(call, { hasEnded: true }))
    },
    flush: ({ process }) => void processes[process]!.unsaved.flush(),
    storeMode({ storeMode }) {
      if (world.storeMode === 'frozen') world.thaw()
      world.storeMode = storeMode
    },
    kill: ({ process }) => kill(process),
    wait: ({ steps }) => resume(steps),
  }

  return {
    run: (command: Command) => (steps[command.do] as (command: Command) => void | Promise<void>)(command),
    /** Kills both processes, brings the store back, starts two new processes and sweeps. */
    async finish() {
      kill(0)
      kill(1)
      world.thaw()
      world.now = NOON + ORPHAN_AFTER_MS
      for (let round = 0; round < 3; round++) {
        for (const { recovery } of processes) void recovery.sweep()
        await untilIdle()
      }
      for (const { kill } of processes) kill()
    },
    checkBudget() {
      if (world.booked('capped') > LIMIT) throw new Error('booked more than the budget')
      const spent = calls.filter(({ team }) => team === 'capped').map(spentOn)
      if (spent.reduce((sum, cost) => sum + cost, 0) > LIMIT) throw new Error('spent more than the budget')
    },
    checkEntries() {
      if (world.spooled.length > 0) throw new Error('steps remain in the spool')
      const wanted = new Set<string>()
      for (const [index, call] of calls.entries()) {
        const callId = `c${index + 1}`
        const state = stateOf(world.entries.get(callId))
        if (!possible(call).includes(state)) throw new Error(`unexpected state of ${callId}: ${state}`)
        wanted.add(callId)
      }
      if ([...world.entries.keys()].some(callId => !wanted.has(callId))) throw new Error('an entry without a call')
    },
  }
}

function endOf(reservation: Reservation, how: End): Promise<unknown> {
  if (how.kind === 'released') return reservation.release()
  if (how.kind === 'unknown') return reservation.unknown()
  return reservation.settle({ cost: how.cost })
}

/** Returns the largest amount that Segmind may have billed. */
function spentOn({ reservation, estimate = 0, end }: PlannedCall): number {
  if (!reservation || end?.kind === 'released') return 0
  return end?.kind === 'charged' ? end.cost : estimate
}

/** Lists the states a call may have at the end. */
function possible({ reservation, isRefused, end, hasEnded }: PlannedCall): string[] {
  if (isRefused) return ['gone']
  // Killed during the reservation: no call was made, but no process can know that.
  if (!reservation) return ['gone', 'unknown']
  if (!end) return ['unknown']
  const ended = end.kind === 'released' ? 'gone' : end.kind === 'charged' ? `charged ${end.cost}` : 'unknown'
  return hasEnded ? [ended] : [ended, 'unknown']
}

function stateOf(entry: LedgerEntry | undefined): string {
  if (!entry) return 'gone'
  return entry.state === 'charged' ? `charged ${entry.settled?.cost}` : entry.state
}

function teamName(): fc.Arbitrary<'free' | 'capped'> {
  return fc.constantFrom('free' as const, 'capped' as const)
}

function aStoreMode(): fc.Arbitrary<StoreMode> {
  return fc.constantFrom<StoreMode>('up', 'up', 'down', 'cut', 'frozen')
}

function anEnd(): fc.Arbitrary<End> {
  return fc.oneof(
    fc.record({ kind: fc.constant('charged' as const), cost: fc.integer({ min: 1, max: ESTIMATE }) }),
    fc.constant<End>({ kind: 'unknown' }),
    fc.constant<End>({ kind: 'released' }),
  )
}
