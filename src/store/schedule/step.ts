import type { NewScheduleEntry, ScheduleChange, ScheduleLimits } from '../../contracts/schedule.js'
import { countCall, pacedWaitMs, refreshPacer, throttle } from './pacer.js'
import type { ScheduleState, StoredEntry, StoredTeam } from './state.js'

export interface StepOutcome {
  /** Own entries that lost their place in the queue. They are no longer stored. */
  dropped: number[]
  /** Other processes whose entries were granted or dropped. */
  notify: string[]
}

/**
 * Applies a change to the schedule, then grants slots and drops what the queue cannot hold.
 * `../redis/schedule-script.ts` does the same in Lua.
 */
export function stepSchedule(
  state: ScheduleState,
  change: ScheduleChange,
  limits: ScheduleLimits,
  now: number,
): StepOutcome {
  const { process, enter, leave, throttled } = change
  const notify = new Set<string>()
  refreshPacer(state.pacer, limits.perMinute, now)
  expireProcesses(state, process, limits.ttlMs, now)
  for (const { id, usedMs } of leave) removeEntry(state, process, id, usedMs)
  if (throttled) throttle(state.pacer, limits.perMinute, now, throttled.waitMs)
  for (const entry of enter) addEntry(state, process, entry)
  for (let next = nextToGrant(state, limits, now); next; next = nextToGrant(state, limits, now)) {
    grant(state, next)
    countCall(state.pacer, limits.perMinute, now)
    notify.add(next.by)
  }
  for (let excess = waitingOf(state).length - limits.maxWaiting; excess > 0; excess--) {
    const victim = nextToDrop(state)
    victim.state = 'dropped'
    notify.add(victim.by)
  }
  const isOwnDrop = ({ by, state }: StoredEntry) => by === process && state === 'dropped'
  const dropped = state.entries.filter(isOwnDrop).map(({ id }) => id)
  state.entries = state.entries.filter(entry => !isOwnDrop(entry))
  removeIdleTeams(state)
  notify.delete(process)
  return { dropped, notify: [...notify] }
}

/** Returns the waiting entries in the order in which they would be granted if slots were free. */
export function grantOrder(state: ScheduleState): StoredEntry[] {
  const queues = new Map<string, { waiting: StoredEntry[]; served: number; since: number; cost: number }>()
  const byRank = waitingOf(state).sort((one, other) => one.rank - other.rank)
  for (const entry of byRank) {
    const queue = queues.get(entry.team)
    const team = state.teams[entry.team]
    if (queue) queue.waiting.push(entry)
    else if (team) queues.set(entry.team, { ...team, waiting: [entry] })
  }
  const order: StoredEntry[] = []
  while (queues.size > 0) {
    const [name, queue] = [...queues].reduce((one, other) => (isServedBefore(other[1], one[1]) ? other : one))
    order.push(queue.waiting.shift() as StoredEntry)
    queue.served += queue.cost
    if (queue.waiting.length === 0) queues.delete(name)
  }
  return order
}

export function waitingOf({ entries }: ScheduleState): StoredEntry[] {
  return entries.filter(({ state }) => state === 'waiting')
}

function expireProcesses(state: ScheduleState, process: string, ttlMs: number, now: number): void {
  state.processes[process] = now + ttlMs
  for (const [name, expiresAt] of Object.entries(state.processes)) {
    // A later time was left by a clock that was set back.
    state.processes[name] = Math.min(expiresAt, now + ttlMs)
    if (expiresAt > now) continue
    delete state.processes[name]
    state.entries = state.entries.filter(({ by }) => by !== name)
    removeIdleTeams(state)
  }
}

function removeEntry(state: ScheduleState, by: string, id: number, usedMs: number | undefined): void {
  state.entries = state.entries.filter(entry => entry.by !== by || entry.id !== id)
  if (usedMs === undefined) return
  const { meanUseMs } = state
  state.meanUseMs = meanUseMs < 0 ? usedMs : meanUseMs + Math.floor((usedMs - meanUseMs) / 8)
}

/** A new team starts level with the least served: no priority, and no debt. */
function addEntry(state: ScheduleState, by: string, entry: NewScheduleEntry): void {
  const { id, team, rank, cost, concurrent = -1, isRunning } = entry
  const known = state.entries.find(other => other.by === by && other.id === id)
  if (known) {
    if (isRunning) known.state = 'running'
    return
  }
  const level = Object.values(state.teams).map(({ served }) => served)
  const { served, since } = state.teams[team] ?? {
    served: level.length > 0 ? Math.min(...level) : 0,
    since: ++state.sequence,
  }
  state.teams[team] = { cost, concurrent, served, since }
  state.entries.push({ id, by, team, rank, state: isRunning ? 'running' : 'waiting' })
}

function nextToGrant(state: ScheduleState, limits: ScheduleLimits, now: number): StoredEntry | undefined {
  const running = state.entries.filter(entry => entry.state === 'running')
  if (running.length >= limits.slots || pacedWaitMs(state.pacer, limits.perMinute, now, 1) > 0) return undefined
  return leastServed(state, team => {
    const own = state.teams[team]?.concurrent ?? -1
    return own < 0 || running.filter(entry => entry.team === team).length < own
  })
}

/**
 * Picks the first waiting entry of the team that was served least for its weight. Among equals it
 * picks the team added last, since the others were served before.
 */
function leastServed(state: ScheduleState, isFree: (team: string) => boolean): StoredEntry | undefined {
  const heads = new Map<string, StoredEntry>()
  for (const entry of waitingOf(state)) {
    const head = heads.get(entry.team)
    if (!head || entry.rank < head.rank) heads.set(entry.team, entry)
  }
  let best: StoredEntry | undefined
  for (const head of heads.values()) if (isFree(head.team) && (!best || isBefore(state, head, best))) best = head
  return best
}

function isBefore({ teams }: ScheduleState, one: StoredEntry, other: StoredEntry): boolean {
  const [a, b] = [teams[one.team], teams[other.team]]
  if (!a || !b) return false
  return isServedBefore(a, b)
}

type Served = Pick<StoredTeam, 'served' | 'since'>

function isServedBefore(one: Served, other: Served): boolean {
  return one.served < other.served || (one.served === other.served && one.since > other.since)
}

function grant(state: ScheduleState, entry: StoredEntry): void {
  entry.state = 'running'
  const team = state.teams[entry.team]
  if (team) team.served += team.cost
}

/**
 * Picks the newest waiting entry of the team with the most for its weight, batches before
 * interactive requests. Among equals it picks the team that added an entry last.
 */
function nextToDrop(state: ScheduleState): StoredEntry {
  const waiting = waitingOf(state)
  const load = new Map<string, number>()
  for (const { team } of waiting) load.set(team, (load.get(team) ?? 0) + (state.teams[team]?.cost ?? 0))
  const loadOf = ({ team }: StoredEntry) => load.get(team) ?? 0
  const largest = waiting.reduce((one, other) => (loadOf(other) >= loadOf(one) ? other : one))
  return waiting
    .filter(({ team }) => team === largest.team)
    .reduce((one, other) => (other.rank >= one.rank ? other : one))
}

function removeIdleTeams(state: ScheduleState): void {
  const active = new Set(state.entries.filter(({ state }) => state !== 'dropped').map(({ team }) => team))
  for (const team of Object.keys(state.teams)) if (!active.has(team)) delete state.teams[team]
}
