import { GatewayError } from '../../src/contracts/errors.js'
import type { LedgerEntry } from '../../src/contracts/ledger.js'
import { readAccount } from '../../src/credits/account/record.js'
import { daysOf, verifyDay, verifyMonth, verifyTotals } from '../../src/credits/wholeness/verify.js'
import { cacheKey } from '../../src/segment/cache-key.js'
import { segment } from '../../src/segment/pipeline.js'
import { type Random, randomFrom } from '../support/random.js'
import type { FaultRecord, History, LogLine, RequestRecord } from './history.js'
import { HOSTS, type Plan, type PlannedFault, type PlannedRequest } from './plan.js'
import { bootReplica, createHost, createProcess, type Host, ORIGIN, type Replica, TEAMS_FILE } from './replica.js'
import { connectTo, digestOf, pictureOf, promptOf, Segmind, uploadOf } from './segmind.js'
import { SharedStore, type StoreState } from './store.js'
import { beginTime, coarsen, type Machine, runUntil, schedule, trueTime, virtualFiles, WORLD } from './virtual-time.js'

const SNAPSHOT_MS = 1_000
const CALM_MS = 15_000
/** Longest time until everything that can be learned about the calls is known. */
const SETTLE_MS = 45 * 60_000

interface Seat {
  host: Host
  process: Machine | undefined
  replica?: Replica | undefined
}

/** Looks at the replicas that run, regularly. For long runs, whose timers are coarse. */
export interface Watcher {
  everyMs: number
  watch(replicas: Replica[]): Promise<void>
}

/** Runs one seed from its start to the idle end. */
export async function simulate(plan: Plan, watcher?: Watcher): Promise<History> {
  beginTime(plan.seed)
  if (watcher) coarsen()
  virtualFiles.set(TEAMS_FILE, teamsFileOf(plan))
  const world = new World(plan)
  const collect = (error: unknown) =>
    void world.uncaught.push(error instanceof Error ? (error.stack ?? '') : String(error))
  process.on('unhandledRejection', collect)
  process.on('uncaughtException', collect)
  try {
    if (watcher) world.watch(watcher)
    return await world.run()
  } finally {
    process.off('unhandledRejection', collect)
    process.off('uncaughtException', collect)
  }
}

function teamsFileOf({ teams }: Plan): string {
  // Short, since every replica parses it.
  const lines = teams.flatMap(({ id, daily, isProtected }) => [
    `- id: ${id}`,
    ...(isProtected ? ['  protected: true'] : []),
    ...(daily === undefined ? [] : [`  budget: {daily: ${daily / 1e9}}`]),
  ])
  return ['teams:', ...lines].join('\n')
}

class World {
  readonly uncaught: string[] = []
  readonly #plan: Plan
  readonly #random: Random
  readonly #store = new SharedStore()
  readonly #segmind: Segmind
  readonly #seats: Seat[]
  readonly #requests: RequestRecord[] = []
  readonly #faults: FaultRecord[] = []
  readonly #logs: LogLine[] = []
  readonly #snapshots: { at: number; state: StoreState }[] = []
  #running = 0
  #acceptedAt: number | undefined

  constructor(plan: Plan) {
    this.#plan = plan
    this.#random = randomFrom(plan.seed).fork('world')
    this.#segmind = new Segmind(plan, this.#random.fork('segmind'))
    connectTo(this.#segmind)
    this.#seats = Array.from({ length: HOSTS }, (_, index) => ({
      host: createHost(`host-${index}`, plan.skewsMs[index] ?? 0),
      process: undefined,
    }))
  }

  async run(): Promise<History> {
    for (const seat of this.#seats) this.#boot(seat)
    for (const request of this.#plan.requests) schedule(WORLD, request.at, () => this.#request(request))
    for (const fault of this.#plan.faults) schedule(WORLD, fault.at, () => this.#inject(fault))
    if (this.#plan.faults.some(({ kind }) => kind === 'store-rolled-back')) this.#takeSnapshots()
    const last = Math.max(...this.#plan.requests.map(({ at }) => at), ...this.#plan.faults.map(({ at }) => at))
    await this.#pass(last + 1)
    await this.#pass(Math.max(0, ...this.#faults.map(({ to }) => to - trueTime())) + CALM_MS)
    await runUntil(() => this.#running === 0)
    await this.#acceptLoss()
    for (const seat of this.#seats.slice(1)) await this.#stop(seat)
    coarsen()
    await this.#settle()
    const cached = await this.#cachedInputs()
    for (const seat of this.#seats) await this.#stop(seat)
    return this.#history(cached)
  }

  watch(watcher: Watcher): void {
    schedule(WORLD, watcher.everyMs, () => {
      const replicas = this.#seats.flatMap(({ replica }) => replica ?? [])
      const [first] = replicas
      // Its reads belong to the machine of a replica.
      if (first) schedule(first.machine, 0, () => void watcher.watch(replicas))
      this.watch(watcher)
    })
  }

  #pass(ms: number): Promise<void> {
    const end = trueTime() + ms
    let isOver = false
    schedule(WORLD, ms, () => {
      isOver = true
    })
    return runUntil(() => isOver || trueTime() > end)
  }

  /** Starts a process, and tries again if it cannot start. */
  #boot(seat: Seat): void {
    const machine = createProcess(seat.host)
    seat.process = machine
    const env = {
      SEGMIND_BASE_URL: ORIGIN,
      SEGMIND_TIMEOUT_MS: '15000',
      CLIENT_TIMEOUT_MS: '12000',
      QUEUE_TIMEOUT_MS: '6000',
      SHUTDOWN_TIMEOUT_MS: '20000',
      SEGMIND_MAX_CONCURRENCY: String(this.#plan.slots),
      RESERVE_CREDITS: String(this.#plan.reserve / 1e9),
      ...(this.#plan.hasHistory ? { SEGMIND_HISTORY_URL: ORIGIN } : { SEGMIND_HISTORY: 'off' }),
    }
    const onLog = (process: string, level: string, message: string, fields: Record<string, unknown>) =>
      void this.#logs.push({ at: trueTime(), process, level, message, fields })
    const options = { store: this.#store, random: this.#random.fork(machine.name), env, onLog }
    schedule(machine, 1, () => {
      void bootReplica(seat.host, machine, options).then(
        replica => {
          seat.replica = replica
        },
        error => this.uncaught.push(`start: ${error.stack}`),
      )
    })
  }

  #request({ host, team, input, mode, leavesAfterMs }: PlannedRequest): void {
    const { replica } = this.#seats[host] as Seat
    if (!replica || replica.machine.isDead || replica.parts.lifecycle.isDraining) return
    const { id: teamId } = this.#plan.teams[team] as Plan['teams'][number]
    const record: RequestRecord = {
      id: `request-${this.#requests.length + 1}`,
      input,
      team: teamId,
      process: replica.machine.name,
      at: trueTime(),
      mode,
      hasLeft: false,
      outcomes: [],
    }
    this.#requests.push(record)
    this.#running++
    schedule(replica.machine, 0, () => {
      if (!replica.parts.lifecycle.isDraining) return void this.#ask(replica, record, leavesAfterMs)
      // It was frozen when the request arrived. The server refuses connections by now.
      record.outcomes.push('shutting_down')
      record.endedAt = trueTime()
      this.#running--
    })
  }

  async #ask(replica: Replica, record: RequestRecord, leavesAfterMs: number | undefined): Promise<void> {
    const team = replica.parts.teams.teams().find(({ id }) => id === record.team)
    if (!team) throw new Error(`no team ${record.team}`)
    const bytes = uploadOf(record.id)
    const digest = digestOf(record.input)
    const onGone = (work: () => void) => {
      if (leavesAfterMs === undefined) return
      schedule(replica.machine, leavesAfterMs, () => {
        if (record.endedAt === undefined) record.hasLeft = true
        work()
      })
    }
    const { mode } = record
    const request = {
      requestId: record.id,
      caller: { team, keyId: 'key' },
      image: { digest, uploaded: { type: 'jpeg', digest, chunks: [bytes], byteLength: bytes.length } as const },
      params: { prompt: promptOf(record.input), overlayMask: true },
      cache: { noCache: mode === 'no-cache', noStore: false, onlyIfCached: mode === 'only-if-cached' },
      onGone,
    }
    replica.open.requests++
    await segment(request, replica.pipeline).then(
      answer => {
        record.outcomes.push(answer.how)
        if (answer.how !== 'accepted') record.picture = pictureOf(answer.result.body)
      },
      error => record.outcomes.push(error instanceof GatewayError ? error.code : `thrown ${error}`),
    )
    record.endedAt = trueTime()
    replica.open.requests--
    this.#running--
  }

  #inject(fault: PlannedFault): void {
    const at = trueTime()
    const seat = 'host' in fault ? (this.#seats[fault.host] as Seat) : undefined
    const until = at + ('ms' in fault ? fault.ms : 0)
    const record: FaultRecord = { kind: fault.kind, from: at, to: until }
    if (seat?.process) record.process = seat.process.name
    if ('amount' in fault) record.amount = fault.amount
    if (this.#apply(fault, seat, until)) this.#faults.push(record)
    record.isSeen = this.#seenSteps() > this.#store.sequence
    if ('downMs' in fault) record.to = at + fault.downMs
  }

  /** The last step of the ledger that any replica has seen for certain, by the files that they keep. */
  #seenSteps(): number {
    const witnesses = this.#seats.map(({ host }) => virtualFiles.get(`/virtual/${host.name}/ledger-witness.json`))
    return Math.max(...witnesses.map(text => (text ? (JSON.parse(text) as { sequence: number }).sequence : 0)))
  }

  /** Returns false where the fault changes nothing. */
  #apply(fault: PlannedFault, seat: Seat | undefined, until: number): boolean {
    const store = this.#store
    switch (fault.kind) {
      case 'link-down':
      case 'link-lossy':
        if (!seat?.replica) return false
        seat.replica.link.fault = { kind: fault.kind === 'link-down' ? 'down' : 'lossy', until }
        return true
      case 'frozen':
        if (!seat?.process) return false
        // The longer one of two freezes counts: events would overtake others otherwise.
        seat.process.frozenUntil = Math.max(seat.process.frozenUntil, until)
        return true
      case 'store-frozen':
        store.frozenUntil = Math.max(store.frozenUntil, until)
        return true
      case 'store-full':
        store.isFull = true
        schedule(WORLD, fault.ms, () => {
          store.isFull = false
        })
        return true
      case 'balance-lie':
        this.#segmind.balanceLies = 1
        return true
      case 'balance-late':
        this.#segmind.balanceLateUntil = until
        return true
      case 'store-evicted':
        store.evict()
        return true
      case 'store-emptied':
        store.restore(undefined)
        return true
      case 'store-rolled-back': {
        const earlier = this.#snapshots.findLast(({ at }) => at <= trueTime() - fault.byMs)
        if (earlier) store.restore(earlier.state)
        return earlier !== undefined
      }
      case 'killed':
        return this.#end(seat, fault.downMs, 'killed')
      case 'drained':
        return this.#end(seat, fault.downMs, 'drained')
      case 'foreign':
        this.#segmind.spendElsewhere(fault.amount)
        return true
      case 'top-up':
        this.#segmind.balance += fault.amount
        return true
      case 'price':
        this.#segmind.price = fault.amount
        return true
    }
  }

  #end(seat: Seat | undefined, downMs: number, how: 'killed' | 'drained'): boolean {
    if (!seat?.process || !seat.replica) return false
    const { process, replica } = seat
    seat.replica = undefined
    const restart = () => schedule(WORLD, downMs, () => this.#boot(seat))
    if (how === 'drained')
      schedule(
        process,
        0,
        () =>
          void replica.stop().then(() => {
            this.#die(process)
            restart()
          }),
      )
    else {
      this.#die(process)
      restart()
    }
    return true
  }

  /** Ends a process. Its open requests are never answered. */
  #die(process: Machine): void {
    process.isDead = true
    for (const request of this.#requests)
      if (request.process === process.name && request.endedAt === undefined) this.#running--
  }

  #takeSnapshots(): void {
    this.#snapshots.push({ at: trueTime(), state: this.#store.snapshot() })
    schedule(WORLD, SNAPSHOT_MS, () => this.#takeSnapshots())
  }

  /** Does what an operator does: accepts a ledger that was lost. */
  async #acceptLoss(): Promise<void> {
    const { parts } = this.#store
    if (!(await parts.ledger.totals()).loss) return
    await parts.ledger.accept()
    this.#acceptedAt = trueTime()
    await this.#pass(10_000)
  }

  async #stop(seat: Seat): Promise<void> {
    const { replica, process } = seat
    if (!replica || !process) return
    let hasEnded = false
    schedule(
      process,
      0,
      () =>
        void replica.stop().then(() => {
          hasEnded = true
          process.isDead = true
        }),
    )
    await runUntil(() => hasEnded)
    seat.replica = undefined
  }

  /** Waits until the last replica has learned everything that it can. */
  async #settle(): Promise<void> {
    const { ledger, records } = this.#store.parts
    const end = trueTime() + SETTLE_MS
    while (trueTime() < end) {
      await this.#pass(10_000)
      const totals = await ledger.totals()
      const { record } = await readAccount(records)
      const isKnown = totals.reservedCalls === 0 && totals.estimatedCalls === 0
      const isCompared = record && !record.anchor.loose && record.anchor.remaining === this.#segmind.balance
      if (isKnown && isCompared && record.anchor.spent === totals.spent) return
      // Longer than the history is read for an unknown call each minute.
      if (totals.reservedCalls === 0 && isCompared && trueTime() > end - SETTLE_MS / 2) return
    }
  }

  async #cachedInputs(): Promise<number[]> {
    const inputs = new Set(this.#requests.map(({ input }) => input))
    const found: number[] = []
    for (const input of inputs) {
      const key = cacheKey(digestOf(input), { prompt: promptOf(input), overlayMask: true }, '')
      if (await this.#store.parts.results.has(key)) found.push(input)
    }
    return found
  }

  async #history(cached: number[]): Promise<History> {
    const { ledger, records } = this.#store.parts
    const months = await ledger.months()
    const days = (await Promise.all(months.map(month => daysOf(ledger, month)))).flat()
    const found = [
      await verifyTotals(ledger),
      ...(await Promise.all(days.map(day => verifyDay(ledger, day)))),
      ...(await Promise.all(months.map(month => verifyMonth(ledger, month)))),
    ]
    const entries: LedgerEntry[] = []
    for (const day of days) for await (const some of ledger.entries(day)) entries.push(...some)
    const totals = await ledger.totals()
    const { record } = await readAccount(records)
    const sum = (kind: FaultRecord['kind']) =>
      this.#faults.filter(fault => fault.kind === kind).reduce((total, { amount = 0 }) => total + amount, 0)
    // A step long after the last one of any process drops the entries of those that were killed.
    const limits = { slots: this.#plan.slots, maxWaiting: 1, perMinute: 0, ttlMs: 1 }
    await this.#store.parts.schedule.step({ process: 'check', enter: [], leave: [] }, limits)
    const spooled = (await Promise.all(this.#seats.map(({ host }) => host.spool.all()))).flat()
    return {
      plan: this.#plan,
      calls: this.#segmind.calls,
      requests: this.#requests,
      faults: this.#faults,
      logs: this.#logs,
      ...(this.#acceptedAt !== undefined && { acceptedAt: this.#acceptedAt }),
      entries,
      mismatches: found.flatMap(each => (each ?? []).map(mismatch => JSON.stringify(mismatch))),
      spent: totals.spent,
      leftovers: { ...this.#store.leftovers(), reserved: totals.reservedCalls, spooled: spooled.length },
      cached,
      account: record && {
        remaining: record.anchor.remaining,
        drift: record.drift,
        topUps: record.topUps,
        events: record.events,
      },
      segmind: {
        opening: this.#plan.balance,
        balance: this.#segmind.balance,
        foreign: sum('foreign'),
        topUps: sum('top-up'),
      },
      uncaught: this.uncaught,
      endedAt: trueTime(),
    }
  }
}
