import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Clock } from '../../contracts/clock.js'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import type {
  BudgetOverride,
  CreatedKey,
  CreateKeyInput,
  ListedTeam,
  RevokeOutcome,
  RotatedKey,
} from '../../contracts/keys.js'
import { parseCredits, toCredits } from '../../contracts/nanocredits.js'
import type { Team } from '../../contracts/types.js'
import { field, flag, line, numberFrom, parseBody, teamId } from '../server/fields.js'
import type { RecordAudit } from './audit-recorder.js'
import { addJsonParser } from './json-parser.js'

/**
 * The teams file. Methods that change it throw `invalid_parameter`, or `store_unavailable` where
 * the file cannot be changed.
 */
export interface TeamsAdmin {
  list(): ListedTeam[]
  /** `expires` is a number of days (`90d`) or a date. */
  createKey(input: CreateKeyInput): Promise<CreatedKey & { isNewTeam: boolean }>
  /** Returns undefined for an unknown, revoked or expired key. */
  rotateKey(id: string, how: { overlapDays: number; expires?: string | undefined }): Promise<RotatedKey | undefined>
  revokeKey(id: string): Promise<RevokeOutcome>
  /** Returns false for an unknown team. */
  overrideBudget(team: string, override: BudgetOverride | undefined): Promise<boolean>
}

export interface TeamsRouteParts {
  teams: TeamsAdmin
  audit: RecordAudit
  now: Clock
}

interface TeamParams {
  Params: { team: string }
}

interface KeyParams {
  Params: { id: string }
}

const MAX_OVERLAP_DAYS = 90
const DEFAULT_OVERLAP_DAYS = 7

const expires = line(1, 40)
const NEW_KEY = { expires, note: line(0, 200), name: line(1, 100), test: flag }
const ROTATION = { overlapDays: numberFrom(0, MAX_OVERLAP_DAYS), expires }

/** An amount of credits as a number or as decimal text. */
const amount = field('an amount of credits, 0 or more', value => {
  const text = typeof value === 'number' ? value.toFixed(9).replace(/\.?0+$/, '') : value
  const isAmount = typeof text === 'string' && /^\d{1,9}(\.\d{1,9})?$/.test(text) && parseCredits(text) !== undefined
  return isAmount ? text : undefined
})

/**
 * Adds `/admin/teams` and `/admin/keys`, which read and change the teams file. A change takes
 * effect in this process at once, and in others within two seconds.
 */
export async function addTeamsRoutes(admin: FastifyInstance, parts: TeamsRouteParts): Promise<void> {
  await admin.register(async teams => {
    addJsonParser(teams)
    teams.get('/teams', async () => ({ teams: parts.teams.list().map(teamToJson) }))
    teams.post<TeamParams>('/teams/:team/keys', async (request, reply) =>
      reply.code(201).send(await createKey(request, parts)),
    )
    teams.post<KeyParams>('/keys/:id/rotate', async (request, reply) =>
      reply.code(201).send(await rotateKey(request, parts)),
    )
    teams.delete<KeyParams>('/keys/:id', request => revokeKey(request, parts))
    teams.put<TeamParams>('/teams/:team/budget/override', request => overrideBudget(request, parts))
    teams.delete<TeamParams>('/teams/:team/budget/override', request => endOverride(request, parts))
  })
}

async function createKey(request: FastifyRequest<TeamParams>, { teams, audit }: TeamsRouteParts) {
  const team = teamOf(request)
  const { test: isTest = false, ...fields } = parseBody(request.body, NEW_KEY)
  const { text, ...created } = await teams.createKey({ team, isTest, ...fields })
  const { id, expires, isNewTeam } = created
  const details = { team, isNewTeam, test: isTest, ...defined({ expires }) }
  await audit(request, { action: 'key.created', subject: id, details })
  return { ...created, key: text }
}

async function rotateKey(request: FastifyRequest<KeyParams>, { teams, audit }: TeamsRouteParts) {
  const { id } = request.params
  const { overlapDays = DEFAULT_OVERLAP_DAYS, expires } = parseBody(request.body, ROTATION)
  const rotated = await teams.rotateKey(id, { overlapDays, expires })
  if (!rotated) throw new GatewayError('not_found', `There is no valid key ${quoted(id)} to rotate.`)
  const { text, ...created } = rotated
  const details = { team: created.team, replacedBy: created.id, oldEnds: created.oldEnds }
  await audit(request, { action: 'key.rotated', subject: id, details })
  return { ...created, key: text }
}

async function revokeKey(request: FastifyRequest<KeyParams>, { teams, audit }: TeamsRouteParts) {
  const { id } = request.params
  const outcome = await teams.revokeKey(id)
  if (outcome === 'unknown') throw new GatewayError('not_found', `There is no key ${quoted(id)}.`)
  if (outcome === 'revoked') await audit(request, { action: 'key.revoked', subject: id })
  return { id, state: 'revoked' }
}

async function overrideBudget(request: FastifyRequest<TeamParams>, { teams, audit, now }: TeamsRouteParts) {
  const team = teamOf(request)
  const { daily, monthly, until } = parseBody(request.body, {
    daily: amount,
    monthly: amount,
    until: momentAfter(now()),
  })
  if (daily === undefined && monthly === undefined)
    throw new GatewayError('invalid_parameter', 'daily or monthly is required, in credits.')
  if (until === undefined) throw new GatewayError('invalid_parameter', `until is required: ${UNTIL_FORM}.`)
  const override = { ...defined({ daily, monthly }), until }
  if (!(await teams.overrideBudget(team, override))) throw unknownTeam(team)
  await audit(request, { action: 'budget.overridden', subject: team, details: override })
  const amounts = Object.entries({ daily, monthly }).filter(([, text]) => text !== undefined)
  return { team, override: { ...Object.fromEntries(amounts.map(([name, text]) => [name, Number(text)])), until } }
}

async function endOverride(request: FastifyRequest<TeamParams>, { teams, audit }: TeamsRouteParts) {
  const team = teamOf(request)
  if (!(await teams.overrideBudget(team, undefined))) throw unknownTeam(team)
  await audit(request, { action: 'budget.override.ended', subject: team })
  return { team }
}

function teamToJson({ team, keys }: ListedTeam) {
  const { id, name, disabled, limits, budget, override } = team
  return {
    id,
    name,
    disabled,
    protected: team.protected,
    limits,
    keys,
    ...(budget && { budget: budgetToJson(budget) }),
    ...(override && {
      override: { ...budgetToJson(override.budget), until: new Date(override.until).toISOString() },
    }),
  }
}

function budgetToJson({ daily, monthly }: NonNullable<Team['budget']>) {
  return {
    ...(daily !== undefined && { daily: toCredits(daily) }),
    ...(monthly !== undefined && { monthly: toCredits(monthly) }),
  }
}

function teamOf({ params }: FastifyRequest<TeamParams>): string {
  return teamId(params.team, 'team')
}

function unknownTeam(team: string): GatewayError {
  return new GatewayError('not_found', `There is no team ${team}.`)
}

/** Cut short: a caller may send a whole key instead of its id. */
function quoted(id: string): string {
  return JSON.stringify(id.slice(0, 8))
}

const LONGEST_MS = 366 * 86_400_000
const UNTIL_FORM = 'a time within a year, such as 2027-11-01T12:00:00Z'

function momentAfter(now: number) {
  return field(UNTIL_FORM, value => {
    const isTime = typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(value)
    const at = isTime ? Date.parse(value) : Number.NaN
    return at > now && at <= now + LONGEST_MS ? new Date(at).toISOString() : undefined
  })
}
