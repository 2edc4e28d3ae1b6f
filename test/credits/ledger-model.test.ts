import fc from 'fast-check'
import t from 'tap'
import type { Reservation } from '../../src/segment/ports.js'
import type { LedgerEntry } from '../../src/storage.js'
import { aCaller } from '../support/team.js'
import {
  aPlan,
  ESTIMATE,
  ledgerWorld,
  NOON,
  ORPHAN_AFTER_MS,
  quiet,
  startProcess,
  type Weather,
} from './ledger-world.js'

type End = { kind: 'charged'; cost: number } | { kind: 'unknown' } | { kind: 'released' }

type Command =
  | { do: 'call'; team: 'free' | 'capped'; process: number }
  | { do: 'note'; call: number }
  | { do: 'end'; call: number; how: End }
  | { do: 'flush'; process: number }
  | { do: 'weather'; weather: Weather }
  | { do: 'kill'; process: number }
  | { do: 'wait'; steps: number }

/** One paid call, as the one who makes it sees it. */
interface Made {
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
  { weight: 3, arbitrary: fc.record({ do: fc.constant('weather' as const), weather: aWeather() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), process: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), steps: fc.integer({ min: 1, max: 8 }) }) },
)

t.test('whatever fails and whoever dies: what was called is booked once, and no budget is overspent', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 40 }), fc.infiniteStream(fc.nat(999)), async (commands, luck) => {
      const scene = stage(luck)
      for (const command of commands) {
        await scene.run(command)
        scene.checkBudget()
      }
      await scene.finish()
      scene.checkBudget()
      scene.checkBooks()
    }),
    { numRuns: 400 },
  )
  t.pass('every run was right')
})

/** Two processes over one store and one spool; what each does stops at every step until luck lets it go on. */
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
  const calls: Made[] = []

  const goOn = async (steps: number) => {
    for (let step = 0; step < steps; step++) {
      await quiet()
      const index = (luck.next().value as number) % Math.max(1, stopped.length)
      stopped.splice(index, 1)[0]?.()
    }
    await quiet()
  }
  const untilIdle = async () => {
    for (await quiet(); stopped.length > 0; await quiet()) await goOn(1)
  }
  const kill = (index: number) => {
    processes[index]?.kill()
    processes[index] = start()
  }

  const steps: { [Name in Command['do']]: (command: Extract<Command, { do: Name }>) => void | Promise<void> } = {
    call({ team, process: index }) {
      const process = processes[index]!
      const call: Made = { team, process, isRefused: false, hasEnded: false }
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
    weather({ weather }) {
      if (world.weather === 'frozen') world.thaw()
      world.weather = weather
    },
    kill: ({ process }) => kill(process),
    wait: ({ steps }) => goOn(steps),
  }

  return {
    run: (command: Command) => (steps[command.do] as (command: Command) => void | Promise<void>)(command),
    /** All processes die, the store is back, two others start over it, and time passes. */
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
      if (world.booked('capped') > LIMIT) throw new Error('more is booked than the budget')
      const spent = calls.filter(({ team }) => team === 'capped').map(spentOn)
      if (spent.reduce((sum, cost) => sum + cost, 0) > LIMIT) throw new Error('overspent')
    },
    checkBooks() {
      if (world.spooled.length > 0) throw new Error('steps are left over')
      const wanted = new Set<string>()
      for (const [index, call] of calls.entries()) {
        const callId = `c${index + 1}`
        const stands = standsOf(world.entries.get(callId))
        if (!possible(call).includes(stands)) throw new Error(`${callId} stands as ${stands}`)
        wanted.add(callId)
      }
      if ([...world.entries.keys()].some(callId => !wanted.has(callId))) throw new Error('an entry of no call')
    },
  }
}

function endOf(reservation: Reservation, how: End): Promise<unknown> {
  if (how.kind === 'released') return reservation.release()
  if (how.kind === 'unknown') return reservation.unknown()
  return reservation.settle({ cost: how.cost })
}

/** What Segmind may have billed at most. */
function spentOn({ reservation, estimate = 0, end }: Made): number {
  if (!reservation || end?.kind === 'released') return 0
  return end?.kind === 'charged' ? end.cost : estimate
}

/** How a call may stand when all is over. */
function possible({ reservation, isRefused, end, hasEnded }: Made): string[] {
  if (isRefused) return ['gone']
  // Killed while it reserved: no call was made, but nobody knows that.
  if (!reservation) return ['gone', 'unknown']
  if (!end) return ['unknown']
  const ended = end.kind === 'released' ? 'gone' : end.kind === 'charged' ? `charged ${end.cost}` : 'unknown'
  return hasEnded ? [ended] : [ended, 'unknown']
}

function standsOf(entry: LedgerEntry | undefined): string {
  if (!entry) return 'gone'
  return entry.state === 'charged' ? `charged ${entry.settled?.cost}` : entry.state
}

function teamName(): fc.Arbitrary<'free' | 'capped'> {
  return fc.constantFrom('free' as const, 'capped' as const)
}

function aWeather(): fc.Arbitrary<Weather> {
  return fc.constantFrom<Weather>('up', 'up', 'down', 'cut', 'frozen')
}

function anEnd(): fc.Arbitrary<End> {
  return fc.oneof(
    fc.record({ kind: fc.constant('charged' as const), cost: fc.integer({ min: 1, max: ESTIMATE }) }),
    fc.constant<End>({ kind: 'unknown' }),
    fc.constant<End>({ kind: 'released' }),
  )
}
