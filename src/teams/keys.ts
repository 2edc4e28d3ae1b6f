import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type {
  BudgetOverride,
  CreateKeyInput,
  RevokeOutcome,
  RotatedKey,
  TeamEntry,
  TeamKey,
} from '../contracts/keys.js'
import { type ApiKey, createApiKey } from './api-key.js'
import { changeFile } from './file-change.js'
import { dateOf, endOfDate } from './key-dates.js'
import { EMPTY_TEAMS, withBudgetOverride, withKey, withKeyExpiry, withRevokedKey } from './teams-edit.js'
import { parseTeams, TEAM_ID } from './teams-file.js'

/** A key to be created. `expires` is a date as `expiryOf` formats it. */
export type KeyCreation = Omit<CreateKeyInput, 'isTest'> & { isTest?: boolean; file: string; nowMs: number }

/**
 * Creates a key and writes it into the teams file. Creates the team, the file and its folder if
 * they do not exist. Throws an `Error` for the operator: an invalid team id, a file with errors
 * (lists all), a file that cannot be written.
 */
export async function addKey(input: KeyCreation): Promise<{ key: ApiKey; isNewTeam: boolean }> {
  const { file, team, name, expires, note, isTest = false, nowMs } = input
  if (!TEAM_ID.test(team)) throw new Error('a team id consists of 1 to 32 characters a-z, 0-9 and -')
  await mkdir(dirname(file), { recursive: true })
  let created: { key: ApiKey; isNewTeam: boolean } | undefined
  await changeFile(file, source => {
    const teams = validTeams(source ?? EMPTY_TEAMS, file)
    const key = createUnusedKey(teams, isTest)
    created = { key, isNewTeam: !teams.some(entry => entry.team.id === team) }
    const { id, sha256 } = key
    const changed = withKey(
      source ?? EMPTY_TEAMS,
      { id: team, name },
      { id, sha256, created: dateOf(nowMs), expires, note, test: isTest },
    )
    validTeams(changed, file)
    return changed
  })
  if (!created) throw new Error('no key was created')
  return created
}

/**
 * Marks a key as revoked in the teams file. Throws an `Error` for the operator, as `addKey` does.
 */
export async function revokeKey(file: string, keyId: string, nowMs: number): Promise<RevokeOutcome> {
  let outcome: RevokeOutcome = 'unknown'
  await changeFile(file, source => {
    const keys = validTeams(source ?? EMPTY_TEAMS, file).flatMap(entry => entry.keys)
    const key = keys.find(({ id }) => id === keyId)
    if (key) outcome = key.revoked ? 'revoked before' : 'revoked'
    if (!source || outcome !== 'revoked') return undefined
    const changed = withRevokedKey(source, keyId, dateOf(nowMs))
    validTeams(changed, file)
    return changed
  })
  return outcome
}

export interface Rotation {
  file: string
  keyId: string
  /** Time that the old key stays valid, milliseconds; 0 revokes it immediately. */
  overlapMs: number
  /** Expiry of the new key. Default: the same lifetime as the old key had. */
  expires?: string | undefined
  nowMs: number
}

/** The new key of a rotation. The old one stays valid until `oldEnds`. */
export type KeyReplacement = Pick<RotatedKey, 'team' | 'oldEnds' | 'expires'> & { key: ApiKey }

/**
 * Replaces a key by a new one of the same team, kind and note. Both are valid during the overlap.
 * Returns `undefined` when there is no such key or it is no longer valid. Throws an `Error` for the
 * operator, as `addKey` does.
 */
export async function rotateKey({
  file,
  keyId,
  overlapMs,
  expires,
  nowMs,
}: Rotation): Promise<KeyReplacement | undefined> {
  let created: KeyReplacement | undefined
  await changeFile(file, source => {
    const teams = validTeams(source ?? EMPTY_TEAMS, file)
    const entry = teams.find(({ keys }) => keys.some(({ id }) => id === keyId))
    const old = entry?.keys.find(({ id }) => id === keyId)
    if (!source || !entry || !old || old.revoked || endOf(old) <= nowMs) return undefined
    const key = createUnusedKey(teams, old.test ?? false)
    const newEnd = expires ?? sameLifetime(old, nowMs)
    const oldEnds = new Date(Math.min(nowMs + overlapMs, endOf(old))).toISOString()
    created = { key, team: entry.team.id, oldEnds, ...(newEnd !== undefined && { expires: newEnd }) }
    const ended = overlapMs === 0 ? withRevokedKey(source, keyId, dateOf(nowMs)) : withKeyExpiry(source, keyId, oldEnds)
    const changed = withKey(
      ended,
      { id: entry.team.id },
      {
        id: key.id,
        sha256: key.sha256,
        created: dateOf(nowMs),
        expires: newEnd,
        note: old.note,
        test: old.test ?? false,
      },
    )
    validTeams(changed, file)
    return changed
  })
  return created
}

function endOf({ expires }: TeamKey): number {
  return expires === undefined ? Number.POSITIVE_INFINITY : (endOfDate(expires) ?? 0)
}

/** Returns the expiry of a new key with the lifetime of the old one. */
function sameLifetime({ created, expires }: TeamKey, nowMs: number): string | undefined {
  const [from, to] = [Date.parse(created ?? ''), Date.parse(expires ?? '')]
  return Number.isNaN(from) || Number.isNaN(to) ? undefined : dateOf(nowMs + Math.max(0, to - from))
}

/**
 * Overrides a team's budget for a limited time, or ends the override. Returns false when there is
 * no such team. Throws an `Error` for the operator, as `addKey` does.
 */
export async function overrideBudget(
  file: string,
  teamId: string,
  override: BudgetOverride | undefined,
): Promise<boolean> {
  let exists = false
  await changeFile(file, source => {
    exists = validTeams(source ?? EMPTY_TEAMS, file).some(({ team }) => team.id === teamId)
    if (!source || !exists) return undefined
    const changed = withBudgetOverride(source, teamId, override)
    validTeams(changed, file)
    return changed === source ? undefined : changed
  })
  return exists
}

/** Parses the text of a teams file. Throws an `Error` that lists every problem. */
export function validTeams(source: string, file: string): TeamEntry[] {
  const parsed = parseTeams(source)
  if ('teams' in parsed) return parsed.teams
  throw new Error([`${file} has errors:`, ...parsed.problems.map(problem => `  ${problem}`)].join('\n'))
}

/**
 * Creates a key with an unused id. A random id collides about once in 10¹⁴ / keys attempts and
 * would make the file invalid.
 */
function createUnusedKey(teams: readonly TeamEntry[], isTest: boolean): ApiKey {
  const taken = new Set(teams.flatMap(entry => entry.keys.map(({ id }) => id)))
  let key = createApiKey({ isTest })
  while (taken.has(key.id)) key = createApiKey({ isTest })
  return key
}
