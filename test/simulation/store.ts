import type { ScheduleStore } from '../../src/contracts/schedule.js'
import { type LeaseStore, type StepSpool, type Store, StoreError } from '../../src/contracts/store.js'
import { openBlobIndex } from '../../src/store/embedded/blob-index.js'
import { createBlobs, purgeExpired } from '../../src/store/embedded/blobs.js'
import { createLeases } from '../../src/store/embedded/leases.js'
import { createLedger } from '../../src/store/embedded/ledger.js'
import { createRecords } from '../../src/store/embedded/records.js'
import { createSchedule } from '../../src/store/embedded/schedule.js'
import { createMemoryRates } from '../../src/store/memory-rates.js'
import type { OpenedStore, StoreEvents } from '../../src/store/open-store.js'
import type { RedisConnection } from '../../src/store/redis/connection.js'
import { createStoreClock } from '../../src/store/redis/store-clock.js'
import type { ScheduleState } from '../../src/store/schedule/state.js'
import type { Random } from '../support/random.js'
import { type MemoryEnvironment, memoryEnvironment, type Snapshot } from './memory-environment.js'
import { type Machine, schedule, trueTime, WORLD } from './virtual-time.js'

/** Time after an empty start in which holders renew their leases, as with Redis. */
const RECOVERY_MS = 3_000
/** Silence after which a replica closes its connection to the store. */
const SILENCE_MS = 1_000
const PURGE_MS = 60_000
const MAX_BYTES = 2 ** 24

type Parts = Pick<Store, 'results' | 'images' | 'requests' | 'ledger' | 'records' | 'leases' | 'schedule'>
/** The contents of the whole store. */
export type StoreState = [ledger: Snapshot, blobs: Snapshot]

/** The store that all replicas share: the code of the embedded store, in memory, on its own clock. */
export class SharedStore {
  readonly parts: Parts
  readonly #ledgerFile: MemoryEnvironment = memoryEnvironment()
  readonly #blobFile: MemoryEnvironment = memoryEnvironment()
  readonly #watchers = new Map<string, () => void>()
  /** Time since which it has kept leases. */
  #since = trueTime() - RECOVERY_MS
  /** A command that arrives before this time waits. */
  frozenUntil = 0

  constructor() {
    const now = trueTime
    const index = openBlobIndex(this.#blobFile)
    const hasRoom = () => !this.isFull
    const onProblem = () => undefined
    const blobs = {
      environment: this.#blobFile,
      index,
      maxBytes: MAX_BYTES,
      hasRoom,
      touchAfterMs: 300_000,
      now,
      onProblem,
    }
    const ledger = createLedger(this.#ledgerFile, now)
    const leases = createLeases(this.#ledgerFile, now)
    const records = createRecords(this.#ledgerFile, now)
    this.parts = {
      results: createBlobs(blobs, 'result'),
      images: createBlobs(blobs, 'image'),
      requests: createBlobs(blobs, 'request'),
      ledger,
      records,
      leases: { ...leases, pollMs: 500, acquire: (claim, from) => this.#acquire(leases, claim, from) },
      schedule: this.#notifying(createSchedule(this.#ledgerFile, now)),
    }
    const purge = () => {
      if (!this.isFull) void Promise.all([purgeExpired(blobs), leases.purge(), ledger.purge(), records.purge()])
      schedule(WORLD, PURGE_MS, purge)
    }
    schedule(WORLD, PURGE_MS, purge)
  }

  get isFull(): boolean {
    return this.#ledgerFile.isFull
  }

  /** On a full disk, every write is refused. */
  set isFull(isFull: boolean) {
    this.#ledgerFile.isFull = isFull
    this.#blobFile.isFull = isFull
  }

  snapshot(): StoreState {
    return [this.#ledgerFile.snapshot(), this.#blobFile.snapshot()]
  }

  /** Goes back to an earlier state, or starts empty. */
  restore(state: StoreState | undefined): void {
    this.#ledgerFile.restore(state?.[0])
    this.#blobFile.restore(state?.[1])
    if (!state) this.#since = trueTime()
  }

  /** The number of steps in the ledger. */
  get sequence(): number {
    const [account] = this.#ledgerFile.tables.get('account')?.values.values() ?? []
    return (account?.value as { sequence?: number } | undefined)?.sequence ?? 0
  }

  /** Deletes what may be evicted at any time: results, images and explanations. */
  evict(): void {
    this.#blobFile.restore(undefined)
  }

  /** Counts the leases that are held, and the entries of the schedule. */
  leftovers(): { leases: number; entries: number } {
    const values = (table: string) => [...(this.#ledgerFile.tables.get(table)?.values.values() ?? [])]
    const held = values('leases').filter(({ value }) => (value as { parting?: string }).parting === undefined)
    const states = values('schedule').map(({ value }) => value as ScheduleState)
    return { leases: held.length, entries: states.flatMap(({ entries }) => entries).length }
  }

  /** Grants no lease to a new holder while those that lost theirs may renew them, as the Redis script does. */
  async #acquire(
    leases: LeaseStore,
    claim: Parameters<LeaseStore['acquire']>[0],
    from: Parameters<LeaseStore['acquire']>[1],
  ) {
    const known = await leases.read(claim.name)
    const isHeld = known !== undefined && known.outcome === undefined
    const mayTake = !isHeld || (known.token === from?.token && known.heartbeat === from.heartbeat)
    const waitMs = this.#since + RECOVERY_MS - trueTime()
    if (waitMs > 0 && mayTake && known?.token !== claim.token) return { kind: 'recovering', waitMs } as const
    return leases.acquire(claim, from)
  }

  /** Notifies the processes whose entries a step of another one has changed. */
  #notifying(slots: ScheduleStore): ScheduleStore {
    const waiting = () => {
      const [state] = this.#ledgerFile.tables.get('schedule')?.values.values() ?? []
      const entries = (state?.value as ScheduleState | undefined)?.entries ?? []
      return entries.filter(entry => entry.state === 'waiting')
    }
    return {
      forecast: slots.forecast,
      step: async (change, limits) => {
        const before = waiting()
        const view = await slots.step(change, limits)
        const after = new Set(waiting().map(({ id, by }) => `${by} ${id}`))
        for (const { id, by } of before)
          if (by !== change.process && !after.has(`${by} ${id}`)) this.#watchers.get(by)?.()
        return view
      },
      watch: (process, onNotice) => {
        this.#watchers.set(process, onNotice)
        return () => void this.#watchers.delete(process)
      },
    }
  }
}

/** Probabilities of what happens to a command while the network between a replica and the store is faulty. */
export interface LinkFault {
  until: number
  kind: 'down' | 'lossy'
}

/** The connection of one replica process to the store. A silent store closes it, as `store/redis/gate.ts` does. */
export class Link {
  readonly #store: SharedStore
  readonly #machine: Machine
  readonly #random: Random
  readonly #waiting = new Set<(error: StoreError) => void>()
  #events: StoreEvents = {}
  #isOpen = true
  #arrivesAt = 0
  #answersAt = 0
  #sync: () => Promise<void> = async () => undefined
  fault: LinkFault = { until: 0, kind: 'down' }

  constructor(store: SharedStore, machine: Machine, random: Random) {
    this.#store = store
    this.#machine = machine
    this.#random = random
  }

  /** Opens the store as a replica does: with its own spool on disk, and a clock that follows the store's. */
  async open(spool: StepSpool, events: StoreEvents): Promise<OpenedStore> {
    this.#events = events
    const time = { time: async () => [String(Math.floor(trueTime() / 1000)), String((trueTime() % 1000) * 1000)] }
    const run = (command: (redis: typeof time) => Promise<unknown>) => this.#call(() => command(time))
    const clock = createStoreClock({ run } as unknown as RedisConnection, () => Date.now())
    this.#sync = clock.sync
    await clock.sync()
    const { parts } = this.#store
    const wrapped = Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, this.#wrap(part)]))
    const store: Store = {
      ...(wrapped as unknown as Parts),
      isUp: () => this.#isOpen && !this.#store.isFull,
      mayEvict: () => false,
      size: async () => undefined,
      close: async () => clock.stop(),
    }
    return { store, spool, isSpoolDurable: true, rates: createMemoryRates(clock.now), now: clock.now }
  }

  #wrap(part: object): object {
    const members = Object.entries(part).map(([name, member]) => {
      if (name === 'watch')
        return [name, (of: string, notify: () => void) => member(of, () => this.#isOpen && this.#answer(notify))]
      if (name === 'entries') return [name, (day: string) => this.#pages(() => member(day))]
      return [name, typeof member === 'function' ? (...given: unknown[]) => this.#call(() => member(...given)) : member]
    })
    return Object.fromEntries(members)
  }

  /** Reads pages in one command. */
  async *#pages<T>(read: () => AsyncIterable<T>): AsyncGenerator<T> {
    yield* await this.#call(async () => {
      const pages: T[] = []
      for await (const page of read()) pages.push(page)
      return pages
    })
  }

  #call<T>(command: () => Promise<T>): Promise<T> {
    const isFaulty = this.fault.until > trueTime()
    if (isFaulty && this.fault.kind === 'down') this.#close('the connection is refused')
    if (!this.#isOpen) return Promise.reject(new StoreError('the store is unreachable', { mayHaveHappened: false }))
    const fate = isFaulty ? this.#random.weighted({ answered: 6, lost: 1, refused: 2 }) : 'answered'
    return new Promise<T>((resolve, reject) => {
      this.#waiting.add(reject)
      const settle = (end: () => void) => this.#answer(() => this.#waiting.delete(reject) && end())
      const refuse = (error: unknown) => settle(() => reject(error))
      const arrive = () => {
        if (fate === 'refused') return refuse(new StoreError('refused', { mayHaveHappened: false }))
        command().then(value => fate === 'answered' && settle(() => resolve(value)), refuse)
      }
      const sentAt = trueTime()
      this.#arrivesAt = Math.max(this.#arrivesAt, sentAt + this.#random.between(0, 2), this.#store.frozenUntil)
      schedule(WORLD, this.#arrivesAt - sentAt, arrive)
      if (fate === 'lost' || this.#arrivesAt - sentAt > SILENCE_MS)
        schedule(this.#machine, SILENCE_MS, () => this.#waiting.has(reject) && this.#close('the store is silent'))
    })
  }

  /** Delivers an answer to the replica, after those before it. */
  #answer(deliver: () => void): void {
    this.#answersAt = Math.max(this.#answersAt, trueTime() + this.#random.between(0, 2))
    schedule(this.#machine, this.#answersAt - trueTime(), deliver)
  }

  #close(reason: string): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    for (const reject of [...this.#waiting]) reject(new StoreError(reason))
    this.#waiting.clear()
    this.#events.onDown?.(new StoreError(reason))
    this.#reopen()
  }

  #reopen(): void {
    schedule(this.#machine, this.#random.between(50, 500), () => {
      const { until, kind } = this.fault
      const isUnreachable = this.#store.frozenUntil > trueTime() || (kind === 'down' && until > trueTime())
      if (isUnreachable) return this.#reopen()
      this.#isOpen = true
      // A new connection: commands of the old one may still arrive after its own.
      this.#arrivesAt = 0
      void this.#sync()
      this.#events.onUp?.()
    })
  }
}
