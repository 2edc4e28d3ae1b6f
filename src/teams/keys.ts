import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type ApiKey, createApiKey } from './api-key.js'
import { changeFile } from './file-change.js'
import { dateOf, endOfDate } from './key-dates.js'
import {
  type BudgetOverride,
  EMPTY_TEAMS,
  withBudgetOverride,
  withKey,
  withKeyExpiry,
  withRevokedKey,
} from './teams-edit.js'
import { parseTeams, TEAM_ID, type TeamEntry, type TeamKey } from './teams-file.js'

/** The wish for a new key. `expires` is a date as `expiryOf` writes it. */
export interface KeyWish {
  file: string
  team: string
  name?: string | undefined
  expires?: string | undefined
  note?: string | undefined
  /** A test key: answered by the sandbox. */
  isTest?: boolean
  nowMs: number
}

/**
 * Makes a key and writes it into the teams file; the team, the file and its folder are made where they are not there yet.
 * Throws an `Error` for people: a bad team id, a file with mistakes (all of them), a file that cannot be written.
 */
export async function addKey(wish: KeyWish): Promise<{ key: ApiKey; isNewTeam: boolean }> {
  const { file, team, name, expires, note, isTest = false, nowMs } = wish
  if (!TEAM_ID.test(team)) throw new Error('a team id has 1 to 32 characters out of a-z, 0-9 and -')
  await mkdir(dirname(file), { recursive: true })
  let made: { key: ApiKey; isNewTeam: boolean } | undefined
  await changeFile(file, source => {
    const teams = validTeams(source ?? EMPTY_TEAMS, file)
    const key = freshKey(teams, isTest)
    made = { key, isNewTeam: !teams.some(entry => entry.team.id === team) }
    const { id, sha256 } = key
    const changed = withKey(
      source ?? EMPTY_TEAMS,
      { id: team, name },
      { id, sha256, created: dateOf(nowMs), expires, note, test: isTest },
    )
    validTeams(changed, file)
    return changed
  })
  if (!made) throw new Error('no key was made')
  return made
}

/** Marks a key as revoked in the teams file. Throws an `Error` for people, as `addKey` does. */
export async function revokeKey(
  file: string,
  keyId: string,
  nowMs: number,
): Promise<'revoked' | 'revoked before' | 'unknown'> {
  let outcome: 'revoked' | 'revoked before' | 'unknown' = 'unknown'
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
  /** How long the old key goes on working beside the new one, milliseconds; 0 revokes it at once. */
  overlapMs: number
  /** Of the new key. Default: as long as the old one was good in all. */
  expires?: string | undefined
  nowMs: number
}

/** A key made in place of another, which ends at `oldEnds`. */
export interface Rotated {
  key: ApiKey
  team: string
  oldEnds: string
  expires?: string
}

/**
 * Makes a key in place of another, of the same team, kind and note; both work until the overlap is over. Nothing where there is no such key, or it has
 * ended. Throws an `Error` for people, as `addKey` does.
 */
export async function rotateKey({ file, keyId, overlapMs, expires, nowMs }: Rotation): Promise<Rotated | undefined> {
  let made: Rotated | undefined
  await changeFile(file, source => {
    const teams = validTeams(source ?? EMPTY_TEAMS, file)
    const entry = teams.find(({ keys }) => keys.some(({ id }) => id === keyId))
    const old = entry?.keys.find(({ id }) => id === keyId)
    if (!source || !entry || !old || old.revoked || endOf(old) <= nowMs) return undefined
    const key = freshKey(teams, old.test ?? false)
    const newEnd = expires ?? lifeAgain(old, nowMs)
    const oldEnds = new Date(Math.min(nowMs + overlapMs, endOf(old))).toISOString()
    made = { key, team: entry.team.id, oldEnds, ...(newEnd !== undefined && { expires: newEnd }) }
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
  return made
}

function endOf({ expires }: TeamKey): number {
  return expires === undefined ? Number.POSITIVE_INFINITY : (endOfDate(expires) ?? 0)
}

/** The last day of a new key that is to be good for as many days as the old one was. */
function lifeAgain({ created, expires }: TeamKey, nowMs: number): string | undefined {
  const [from, to] = [Date.parse(created ?? ''), Date.parse(expires ?? '')]
  return Number.isNaN(from) || Number.isNaN(to) ? undefined : dateOf(nowMs + Math.max(0, to - from))
}

/**
 * Gives a team another budget until a moment, or ends that; answers whether there is such a team. Throws an `Error` for people, as `addKey` does.
 */
export async function overrideBudget(
  file: string,
  teamId: string,
  override: BudgetOverride | undefined,
): Promise<boolean> {
  let isThere = false
  await changeFile(file, source => {
    isThere = validTeams(source ?? EMPTY_TEAMS, file).some(({ team }) => team.id === teamId)
    if (!source || !isThere) return undefined
    const changed = withBudgetOverride(source, teamId, override)
    validTeams(changed, file)
    return changed === source ? undefined : changed
  })
  return isThere
}

/** The teams of a file's text. Throws an `Error` that lists every mistake. */
export function validTeams(source: string, file: string): TeamEntry[] {
  const parsed = parseTeams(source)
  if ('teams' in parsed) return parsed.teams
  throw new Error([`${file} has mistakes:`, ...parsed.problems.map(problem => `  ${problem}`)].join('\n'))
}

/** Ids are random: one that is there already comes up about once in 10¹⁴ / keys times, and would make the file invalid. */
function freshKey(teams: readonly TeamEntry[], isTest: boolean): ApiKey {
  const taken = new Set(teams.flatMap(entry => entry.keys.map(({ id }) => id)))
  let key = createApiKey({ isTest })
  while (taken.has(key.id)) key = createApiKey({ isTest })
  return key
}
