import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { parseCredits, toCredits } from '../nanocredits.js'
import type { Team } from '../segment/types.js'
import type { Audit } from './auditing.js'
import { addOperatorParsers, bodyFields, optionalNumber, optionalText, optionalTruth } from './operator-body.js'

/** A key as operators see it: everything but its text, which nobody has. Dates as the teams file has them. */
export interface ListedKey {
  id: string
  created?: string
  expires?: string
  note?: string
  test?: boolean
  state: 'active' | 'expired' | 'revoked' | 'team disabled'
}

export interface ListedTeam {
  team: Team
  keys: ListedKey[]
}

/** A key just made: its text is shown this once. */
export interface MadeKey {
  id: string
  text: string
  team: string
  expires?: string
}

/** The teams file. Each that changes it throws `invalid_parameter`, or `store_unavailable` where the file cannot be changed. */
export interface TeamsAdmin {
  list(): ListedTeam[]
  /** `expires`: `90d`, or a date. */
  createKey(wish: KeyWish): Promise<MadeKey & { isNewTeam: boolean }>
  /** Undefined where there is no such key that is good. */
  rotateKey(id: string, how: { overlapDays: number; expires?: string | undefined }): Promise<Rotated | undefined>
  revokeKey(id: string): Promise<'revoked' | 'revoked before' | 'unknown'>
  /** Answers whether there is such a team. */
  overrideBudget(team: string, override: BudgetOverride | undefined): Promise<boolean>
}

export interface KeyWish {
  team: string
  name?: string | undefined
  expires?: string | undefined
  note?: string | undefined
  isTest: boolean
}

export type Rotated = MadeKey & { replaces: string; oldEnds: string }

/** Amounts in decimal credits; `until` is a moment (ISO 8601). */
export interface BudgetOverride {
  daily?: string
  monthly?: string
  until: string
}

export interface TeamsRouteParts {
  teams: TeamsAdmin
  audit: Audit
  now(): number
}

interface OfTeam {
  Params: { team: string }
}

interface OfKey {
  Params: { id: string }
}

const TEAM_ID = /^[a-z0-9-]{1,32}$/
const MAX_OVERLAP_DAYS = 90
const DEFAULT_OVERLAP_DAYS = 7

/** `/admin/teams` and `/admin/keys`: the teams file, read and changed. What is changed holds in this process at once, in others within two seconds. */
export async function addTeamsRoutes(admin: FastifyInstance, parts: TeamsRouteParts): Promise<void> {
  await admin.register(async teams => {
    addOperatorParsers(teams)
    teams.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'))
    teams.get('/teams', async () => ({ teams: parts.teams.list().map(told) }))
    teams.post<OfTeam>('/teams/:team/keys', async (request, reply) => {
      const made = await createKey(request, parts)
      return reply.code(201).send(made)
    })
    teams.post<OfKey>('/keys/:id/rotate', async (request, reply) => reply.code(201).send(await rotate(request, parts)))
    teams.delete<OfKey>('/keys/:id', request => revoke(request, parts))
    teams.put<OfTeam>('/teams/:team/budget/override', request => override(request, parts))
    teams.delete<OfTeam>('/teams/:team/budget/override', request => endOverride(request, parts))
  })
}

async function createKey(request: FastifyRequest<OfTeam>, { teams, audit }: TeamsRouteParts) {
  const team = teamIn(request)
  const fields = bodyFields(request, ['expires', 'note', 'name', 'test'])
  const wish: KeyWish = {
    team,
    name: optionalText(fields, 'name', { min: 1, max: 100 }),
    note: optionalText(fields, 'note', { max: 200 }),
    expires: optionalText(fields, 'expires', { min: 1, max: 40 }),
    isTest: optionalTruth(fields, 'test') ?? false,
  }
  const { text, ...made } = await teams.createKey(wish)
  const { id, expires, isNewTeam } = made
  const details = { team, isNewTeam, test: wish.isTest, ...(expires !== undefined && { expires }) }
  await audit(request, { action: 'key.created', subject: id, details })
  return { ...made, key: text }
}

async function rotate(request: FastifyRequest<OfKey>, { teams, audit }: TeamsRouteParts) {
  const { id } = request.params
  const fields = bodyFields(request, ['overlapDays', 'expires'])
  const overlapDays = optionalNumber(fields, 'overlapDays', { min: 0, max: MAX_OVERLAP_DAYS }) ?? DEFAULT_OVERLAP_DAYS
  const expires = optionalText(fields, 'expires', { min: 1, max: 40 })
  const rotated = await teams.rotateKey(id, { overlapDays, expires })
  if (!rotated) throw new GatewayError('not_found', `There is no key ${named(id)} that could be replaced.`)
  const { text, ...made } = rotated
  const details = { team: made.team, replacedBy: made.id, oldEnds: made.oldEnds }
  await audit(request, { action: 'key.rotated', subject: id, details })
  return { ...made, key: text }
}

async function revoke(request: FastifyRequest<OfKey>, { teams, audit }: TeamsRouteParts) {
  const { id } = request.params
  const outcome = await teams.revokeKey(id)
  if (outcome === 'unknown') throw new GatewayError('not_found', `There is no key ${named(id)}.`)
  if (outcome === 'revoked') await audit(request, { action: 'key.revoked', subject: id })
  return { id, state: 'revoked' }
}

async function override(request: FastifyRequest<OfTeam>, { teams, audit, now }: TeamsRouteParts) {
  const team = teamIn(request)
  const fields = bodyFields(request, ['daily', 'monthly', 'until'])
  const wish = {
    ...amountIn(fields, 'daily'),
    ...amountIn(fields, 'monthly'),
    until: momentIn(fields, now()),
  }
  if (wish.daily === undefined && wish.monthly === undefined)
    throw new GatewayError('invalid_parameter', 'daily or monthly is needed, in credits.')
  if (!(await teams.overrideBudget(team, wish))) throw unknownTeam(team)
  await audit(request, { action: 'budget.overridden', subject: team, details: wish })
  return { team, override: asNumbers(wish) }
}

async function endOverride(request: FastifyRequest<OfTeam>, { teams, audit }: TeamsRouteParts) {
  const team = teamIn(request)
  if (!(await teams.overrideBudget(team, undefined))) throw unknownTeam(team)
  await audit(request, { action: 'budget.override.ended', subject: team })
  return { team }
}

function told({ team, keys }: ListedTeam) {
  const { id, name, disabled, limits, budget, override: temporary } = team
  return {
    ...{ id, name, disabled, protected: team.protected, limits, keys },
    ...(budget && { budget: inCredits(budget) }),
    ...(temporary && {
      override: { ...inCredits(temporary.budget), until: new Date(temporary.until).toISOString() },
    }),
  }
}

function inCredits({ daily, monthly }: NonNullable<Team['budget']>) {
  return {
    ...(daily !== undefined && { daily: toCredits(daily) }),
    ...(monthly !== undefined && { monthly: toCredits(monthly) }),
  }
}

function asNumbers({ daily, monthly, until }: BudgetOverride) {
  return {
    ...(daily !== undefined && { daily: Number(daily) }),
    ...(monthly !== undefined && { monthly: Number(monthly) }),
    until,
  }
}

function teamIn({ params: { team } }: FastifyRequest<OfTeam>): string {
  if (TEAM_ID.test(team)) return team
  throw new GatewayError('invalid_parameter', 'A team id has 1 to 32 characters out of a-z, 0-9 and -.')
}

function unknownTeam(team: string): GatewayError {
  return new GatewayError('not_found', `There is no team ${team}.`)
}

/** What was asked for, cut short: it may be a whole key by mistake. */
function named(id: string): string {
  return JSON.stringify(id.slice(0, 8))
}

/** An amount of credits, as a number or as decimal text. */
function amountIn(fields: Record<string, unknown>, name: 'daily' | 'monthly'): { daily?: string; monthly?: string } {
  const value = fields[name]
  if (value === undefined) return {}
  const text = typeof value === 'number' ? value.toFixed(9).replace(/\.?0+$/, '') : value
  const amount = typeof text === 'string' && /^\d{1,9}(\.\d{1,9})?$/.test(text) ? parseCredits(text) : undefined
  if (typeof text === 'string' && amount !== undefined) return { [name]: text }
  throw new GatewayError('invalid_parameter', `${name} takes an amount of credits, 0 or more.`)
}

const LONGEST_MS = 366 * 86_400_000

function momentIn({ until }: Record<string, unknown>, now: number): string {
  const at =
    typeof until === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(until)
      ? Date.parse(until)
      : Number.NaN
  if (at > now && at <= now + LONGEST_MS) return new Date(at).toISOString()
  throw new GatewayError('invalid_parameter', 'until takes a moment within a year, such as 2027-11-01T12:00:00Z.')
}
