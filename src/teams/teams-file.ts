import { parseCredits } from '../nanocredits.js'
import type { Team } from '../segment/types.js'
import { endOfDate } from './key-dates.js'
import { listOf, mapped, optional, type Read, readYaml, record, required, text, unique } from './yaml-reader.js'

/** One key as the teams file has it; its text is nowhere. */
export interface TeamKey {
  id: string
  /** 64 lower-case hex digits. */
  sha256: string
  created?: string
  /** As written; the key is good before `endOfDate(expires)`. */
  expires?: string
  note?: string
  /** For people: the key's text says it, too. */
  test?: boolean
  revoked: boolean
}

export interface TeamEntry {
  team: Team
  keys: readonly TeamKey[]
}

export type ParsedTeams = { teams: TeamEntry[] } | { problems: string[] }

/**
 * Reads a teams file (SPEC §7) whole: either every team, or every problem with its line and without the value.
 * A text without `teams:` is refused, so that a file caught empty while it is written locks nobody out.
 */
export function parseTeams(source: string): ParsedTeams {
  const read = readYaml(source, fileReader())
  return 'problems' in read ? read : { teams: read.value.teams }
}

/** What a team's id may be: it is the metric label. */
export const TEAM_ID = /^[a-z0-9-]{1,32}$/

const matching = (accepts: string, form: RegExp) => text(accepts, written => (form.test(written) ? written : undefined))

const TRUTHS = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['no', false],
  ['off', false],
])

const truth = text('true or false', written => TRUTHS.get(written.toLowerCase()))

const number = (min: number, max: number) =>
  text(`a number from ${min} to ${max}`, written => {
    const value = /^\d{1,9}(?:\.\d{1,9})?$/.test(written) ? Number(written) : Number.NaN
    return value >= min && value <= max ? value : undefined
  })

const wholeNumber = (min: number, max: number) =>
  text(`a whole number from ${min} to ${max}`, written => {
    const value = /^\d{1,9}$/.test(written) ? Number(written) : Number.NaN
    return value >= min && value <= max ? value : undefined
  })

const credits = text('a decimal number of credits, 0 or more', written => {
  const amount = parseCredits(written)
  return amount !== undefined && amount >= 0 ? amount : undefined
})

const date = text('a date (2027-11-01) or a time with its offset (2027-11-01T12:00:00Z)', written =>
  endOfDate(written) === undefined ? undefined : written,
)

/** A date in the future revokes, too: whoever wants a key to end later writes `expires`. */
const revocation = text('the date of the revocation, or true or false', written =>
  endOfDate(written) === undefined ? TRUTHS.get(written.toLowerCase()) : true,
)

const limits = record({
  requests_per_minute: optional(wholeNumber(1, 1_000_000)),
  concurrent: optional(wholeNumber(1, 10_000)),
  weight: optional(number(0.1, 100)),
})

const budget = record({
  daily: optional(credits),
  monthly: optional(credits),
  alert_at: optional(listOf(number(0.01, 10))),
  override: optional(record({ daily: optional(credits), monthly: optional(credits), until: required(date) })),
})

/** A reader for one file: it remembers the ids it has met, to refuse repeated ones. */
function fileReader() {
  return record({ teams: required(listOf(teamReader())) })
}

function teamReader(): Read<TeamEntry> {
  const fields = record({
    id: required(unique('team id', matching('1 to 32 of a-z, 0-9 and -', TEAM_ID))),
    name: optional(matching('1 to 100 characters on one line', /^.{1,100}$/)),
    protected: optional(truth),
    disabled: optional(truth),
    limits: optional(limits),
    budget: optional(budget),
    keys: optional(listOf(keyReader())),
  })
  return mapped(fields, found => ({
    team: {
      id: found.id,
      name: found.name ?? found.id,
      protected: found.protected ?? false,
      disabled: found.disabled ?? false,
      limits: {
        requestsPerMinute: found.limits?.requests_per_minute ?? 600,
        weight: found.limits?.weight ?? 1,
        ...(found.limits?.concurrent === undefined ? {} : { concurrent: found.limits.concurrent }),
      },
      ...(found.budget ? budgetsOf(found.budget) : {}),
    },
    keys: found.keys ?? [],
  }))
}

/** Shares of a budget that are worth an alert where the file does not say; an empty list there means none. */
const DEFAULT_ALERT_AT: readonly number[] = [0.8, 1]

type BudgetFields = Amounts & { alert_at?: number[]; override?: Amounts & { until: string } }

interface Amounts {
  daily?: number
  monthly?: number
}

function budgetsOf({ alert_at, override, ...amounts }: BudgetFields): Pick<Team, 'budget' | 'alertAt' | 'override'> {
  return {
    budget: budgetOf(amounts),
    alertAt: alert_at ?? DEFAULT_ALERT_AT,
    ...(override && { override: { budget: budgetOf(override), until: endOfDate(override.until) ?? 0 } }),
  }
}

function budgetOf({ daily, monthly }: Amounts): NonNullable<Team['budget']> {
  return { ...(daily === undefined ? {} : { daily }), ...(monthly === undefined ? {} : { monthly }) }
}

function keyReader(): Read<TeamKey> {
  const sha256 = mapped(matching('64 hexadecimal digits', /^[0-9a-f]{64}$/i), digits => digits.toLowerCase())
  const fields = record({
    id: required(unique('key id', matching('8 letters and digits', /^[0-9A-Za-z]{8}$/))),
    sha256: required(unique('sha256', sha256)),
    created: optional(date),
    expires: optional(date),
    note: optional(matching('at most 200 characters', /^.{0,200}$/s)),
    test: optional(truth),
    revoked: optional(revocation),
  })
  return mapped(fields, found => ({ ...found, revoked: found.revoked ?? false }))
}
