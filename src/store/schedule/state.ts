/**
 * The schedule of an account as stored. All numbers are integers, which JSON and Lua keep exactly.
 * Redis changes it by the script in `../redis/schedule-script.ts`, the other stores by `step.ts`;
 * both behave alike. The member names are part of the stored format.
 */
export interface ScheduleState {
  /** Counts the teams that were added. */
  sequence: number
  /** In order of arrival. */
  entries: StoredEntry[]
  /** Teams that have entries, by id. */
  teams: Record<string, StoredTeam>
  /** Time at which the entries of a process expire, by process. */
  processes: Record<string, number>
  /** Moving average of the time a slot is in use; -1 until the first one is released. */
  meanUseMs: number
  pacer: PacerState
}

export interface StoredEntry {
  id: number
  by: string
  team: string
  rank: number
  state: 'waiting' | 'running' | 'dropped'
}

export interface StoredTeam {
  cost: number
  /** -1 for no limit. */
  concurrent: number
  /** Virtual time: the cost of all slots that were granted. */
  served: number
  /** Place in the order in which teams were added. */
  since: number
}

/** State of the pacer. Times are milliseconds of the store's clock. */
export interface PacerState {
  /** Theoretical arrival time of the generic cell rate algorithm (ITU-T I.371). */
  tat: number
  /** No call is granted before. */
  pausedUntil: number
  /** Time of the last decrease of the rate; 0 while the upstream accepts every call. */
  cutAt: number
  /** Calls a minute after that decrease, and those at which its limit ends. */
  base: number
  ceiling: number
  /** Decreases since the rate had recovered. */
  strikes: number
  /** Calls granted since `countedFrom`, and in the minute before. */
  counted: number
  countedFrom: number
  before: number
}

export function emptySchedule(): ScheduleState {
  const pacer = {
    tat: 0,
    pausedUntil: 0,
    cutAt: 0,
    base: 0,
    ceiling: 0,
    strikes: 0,
    counted: 0,
    countedFrom: 0,
    before: 0,
  }
  return { sequence: 0, entries: [], teams: {}, processes: {}, meanUseMs: -1, pacer }
}

/** Decodes the text that the script writes. Lua writes an empty list as an object. */
export function decodeSchedule(text: string | null | undefined): ScheduleState {
  if (!text) return emptySchedule()
  const state = JSON.parse(text) as ScheduleState
  return Array.isArray(state.entries) ? state : { ...state, entries: [] }
}
