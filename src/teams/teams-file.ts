import { defined } from '../contracts/defined.js'
import type { TeamEntry, TeamKey } from '../contracts/keys.js'
import { parseCredits } from '../contracts/nanocredits.js'
import type { Team } from '../contracts/types.js'
import { endOfDate } from './key-dates.js'
import { listOf, mapped, optional, type Read, readYaml, record, required, text, unique } from './yaml-reader.js'

export type ParsedTeams = { teams: TeamEntry[] } | { problems: string[] }

/**
 * Parses a teams file (docs/reference.md, Teams and keys). Returns all teams, or all problems with
 * line numbers and without values. Rejects a text without `teams:`, so that a file read while it is
 * empty does not lock out every team.
 */
export function parseTeams(source: string): ParsedTeams {
  const read = readYaml(source, fileReader())
  return 'problems' in read ? read : { teams: read.value.teams }
}

/** Form of a team id, which is used as a metric label. */
export const TEAM_ID = /^[a-z0-9-]{1,32}$/

/** Matches what a table, a header or a terminal cannot show: controls and lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u

const printable = (accepts: string, form: RegExp) =>
  text(`${accepts}, without control characters`, written =>
    form.test(written) && !UNPRINTABLE.test(written.replace(/[\t\r\n]/g, '')) ? written : undefined,
  )

const matching = (accepts: string, form: RegExp) => text(accepts, written => (form.test(written) ? written : undefined))

const BOOLEANS = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['false', false],
  ['no', false],
  ['off', false],
])

const boolean = text('true or false', written => BOOLEANS.get(written.toLowerCase()))

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

/** A future date revokes the key immediately too; `expires` is for a later end. */
const revocation = text('the date of the revocation, or true or false', written =>
  endOfDate(written) === undefined ? BOOLEANS.get(written.toLowerCase()) : true,
)

const limits = record({
  requests_per_minute: optional(wholeNumber(1, 1_000_000)),
  reads_per_minute: optional(wholeNumber(1, 10_000_000)),
  concurrent: optional(wholeNumber(1, 10_000)),
  weight: optional(number(0.1, 100)),
})

const budget = record({
  daily: optional(credits),
  monthly: optional(credits),
  alert_at: optional(listOf(number(0.01, 10))),
  override: optional(record({ daily: optional(credits), monthly: optional(credits), until: required(date) })),
})

/** Creates a reader for one file, which keeps the ids it has read to reject duplicates. */
function fileReader() {
  return record({ teams: required(listOf(teamReader())) })
}

function teamReader(): Read<TeamEntry> {
  const fields = record({
    id: required(unique('team id', matching('1 to 32 of a-z, 0-9 and -', TEAM_ID))),
    name: optional(printable('1 to 100 characters on one line', /^.{1,100}$/)),
    protected: optional(boolean),
    disabled: optional(boolean),
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
      limits: limitsOf(found.limits),
      ...(found.budget && budgetsOf(found.budget)),
    },
    keys: found.keys ?? [],
  }))
}

const DEFAULT_REQUESTS_PER_MINUTE = 600
/** Requests that spend nothing, for each one that may spend: enough to poll its result. */
const READS_PER_REQUEST = 10

interface LimitFields {
  requests_per_minute?: number
  reads_per_minute?: number
  concurrent?: number
  weight?: number
}

function limitsOf(fields: LimitFields = {}): Team['limits'] {
  const { requests_per_minute: requestsPerMinute = DEFAULT_REQUESTS_PER_MINUTE, concurrent, weight = 1 } = fields
  const { reads_per_minute: readsPerMinute = READS_PER_REQUEST * requestsPerMinute } = fields
  return { requestsPerMinute, readsPerMinute, weight, ...defined({ concurrent }) }
}

/**
 * Default of `alert_at`, as shares of the budget. An empty list in the file disables the alerts.
 */
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
  return defined({ daily, monthly })
}

function keyReader(): Read<TeamKey> {
  const sha256 = mapped(matching('64 hexadecimal digits', /^[0-9a-f]{64}$/i), digits => digits.toLowerCase())
  const fields = record({
    id: required(unique('key id', matching('8 letters and digits', /^[0-9A-Za-z]{8}$/))),
    sha256: required(unique('sha256', sha256)),
    created: optional(date),
    expires: optional(date),
    note: optional(printable('at most 200 characters', /^.{0,200}$/s)),
    test: optional(boolean),
    revoked: optional(revocation),
  })
  return mapped(fields, found => ({ ...found, revoked: found.revoked ?? false }))
}
