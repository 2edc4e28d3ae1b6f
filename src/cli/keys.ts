import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { loadSlices, teamsFile } from '../config.js'
import { parseApiKey } from '../teams/api-key.js'
import { endOfDate, expiryOf } from '../teams/key-dates.js'
import { addKey, revokeKey, rotateKey, validTeams } from '../teams/keys.js'
import { TEAM_ID, type TeamEntry, type TeamKey } from '../teams/teams-file.js'
import { type Done, type OpenStore, takeDownIn } from './audit-trail.js'
import { type CliIo, refuseMore, usageError } from './io.js'
import { textTable } from './text-table.js'

export const help = `Makes, lists and revokes team keys

segmind-gateway keys create <team> [--expires 90d|2027-11-01] [--note TEXT] [--name TEXT] [--test]
    Adds a key to TEAMS_FILE (default: teams.yaml in DATA_DIR), and the team when it is new.
    The key is the only line on stdout, shown this once; the file holds its SHA-256.
    --expires  days from now, or the last day (UTC) on which the key is good
    --note     what the key is for
    --name     the name of a new team
    --test     a test key: answered by the sandbox, spends nothing (docs/test-keys.md)
segmind-gateway keys list [--json]
    All keys without their texts: team, id, created, expires, kind (test), state, note.
segmind-gateway keys rotate <id> [--overlap 7d] [--expires 90d|2027-11-01]
    Makes a key in place of another, of the same team, kind and note; both work until the overlap is over.
    The new key is the only line on stdout.
    --overlap  days that the old key goes on working; 0d revokes it at once
    --expires  of the new key; default: good for as long as the old one was
segmind-gateway keys revoke <id>
    Marks a key, given by its id or whole, as revoked. A running gateway refuses it within two seconds.`

export interface KeysSurroundings {
  /** Where what is done is taken down; nowhere without it. */
  openStore?: OpenStore
  /** For tests. */
  now?: () => number
}

const VERBS = { create, list, rotate, revoke }

/** `segmind-gateway keys …`. Rejects with an `Error` for people. */
export async function run(
  args: string[],
  io: CliIo,
  { openStore, now = Date.now }: KeysSurroundings = {},
): Promise<number> {
  const [verb, ...rest] = args
  const settings = loadSlices(io.env, ['teams', 'store'])
  const { file } = teamsFile(settings)
  const act = VERBS[verb as keyof typeof VERBS]
  const known = 'create, list, rotate or revoke'
  if (!act || !Object.hasOwn(VERBS, verb ?? ''))
    throw usageError(verb === undefined ? `${known}?` : `there is no keys ${verb}: ${known}`)
  const done = (what: Done) => takeDownIn(settings, what, { openStore, io, now })
  return act(rest, io, { file, nowMs: now(), done })
}

interface Where {
  file: string
  nowMs: number
  /** Takes down what was done. */
  done(what: Done): Promise<void>
}

async function create(args: string[], io: CliIo, { file, nowMs, done }: Where): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: CREATE_OPTIONS })
  const [team, ...more] = positionals
  if (team === undefined) throw usageError('which team?')
  refuseMore(more)
  if (!TEAM_ID.test(team)) throw usageError('a team id has 1 to 32 characters out of a-z, 0-9 and -')
  checkLine('--note', values.note, { min: 0, max: 200 })
  checkLine('--name', values.name, { min: 1, max: 100 })
  const expires = expiryIn(values.expires, nowMs)
  const { key, isNewTeam } = await addKey({
    ...{ file, team, name: values.name, note: values.note, expires, nowMs },
    isTest: values.test ?? false,
  })
  io.stdout(key.text)
  const end = expires === undefined ? 'it does not expire' : `it is good through ${expires} (UTC)`
  io.stderr(
    `${values.test ? 'Test key' : 'Key'} ${key.id} for the ${isNewTeam ? 'new team' : 'team'} ${team} is in ${file}; ${end}.`,
  )
  if (!isNewTeam && values.name !== undefined) io.stderr('The team was there already: its name stays as it is.')
  io.stderr('It is shown this once. A running gateway takes it within two seconds.')
  const details = { team, isNewTeam, test: values.test ?? false, ...(expires !== undefined && { expires }) }
  await done({ action: 'key.created', subject: key.id, details })
  return 0
}

function expiryIn(wish: string | undefined, nowMs: number): string | undefined {
  if (wish === undefined) return undefined
  const expires = expiryOf(wish, nowMs)
  if (expires !== undefined) return expires
  throw usageError('--expires takes a number of days (90d) or a date (2027-11-01) that is not over')
}

const ROTATE_OPTIONS = { overlap: { type: 'string', default: '7d' }, expires: { type: 'string' } } as const
const DAY_MS = 86_400_000

async function rotate(args: string[], io: CliIo, { file, nowMs, done }: Where): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: ROTATE_OPTIONS })
  const keyId = keyIdIn(positionals)
  const [, days] = /^(\d{1,2})d$/.exec(values.overlap) ?? []
  if (days === undefined || Number(days) > 90) throw usageError('--overlap takes a number of days, 0d to 90d')
  const expires = expiryIn(values.expires, nowMs)
  const rotated = await rotateKey({ file, keyId, overlapMs: Number(days) * DAY_MS, expires, nowMs })
  if (!rotated)
    throw new Error(`There is no key ${JSON.stringify(keyId.slice(0, 8))} in ${file} that could be replaced.`)
  const { key, team, oldEnds } = rotated
  io.stdout(key.text)
  io.stderr(`Key ${key.id} of the team ${team} takes the place of ${keyId}, which works until ${oldEnds}.`)
  io.stderr('It is shown this once. A running gateway takes it within two seconds.')
  await done({ action: 'key.rotated', subject: keyId, details: { team, replacedBy: key.id, oldEnds } })
  return 0
}

/** A key is named by its id, or by its whole text. */
function keyIdIn([given, ...more]: readonly string[]): string {
  if (given === undefined) throw usageError('which key? Give its id, as keys list shows it')
  refuseMore(more)
  return parseApiKey(given)?.id ?? given
}

/** Text that is shown in tables and kept on one line of the teams file. */
function checkLine(option: string, text: string | undefined, { min, max }: { min: number; max: number }): void {
  if (text === undefined) return
  const isLong = text.length < min || text.length > max
  if (!isLong && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(text)) return
  throw usageError(`${option} takes ${min} to ${max} characters on one line, without control characters`)
}

const CREATE_OPTIONS = {
  expires: { type: 'string' },
  note: { type: 'string' },
  name: { type: 'string' },
  test: { type: 'boolean' },
} as const

async function list(args: string[], io: CliIo, { file, nowMs }: Where): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { json: { type: 'boolean' } } })
  refuseMore(positionals)
  const rows = validTeams(await readTeams(file), file).flatMap(entry => entry.keys.map(key => rowOf(entry, key, nowMs)))
  if (values.json) io.stdout(JSON.stringify(rows, null, 2))
  else for (const line of tableOf(rows)) io.stdout(line)
  return 0
}

const COLUMNS = ['team', 'id', 'created', 'expires', 'kind', 'state', 'note'] as const

type Row = Partial<Record<(typeof COLUMNS)[number], string>>

/** Without a column in which there is nothing to tell apart. */
function tableOf(rows: readonly Row[]): string[] {
  const columns = COLUMNS.filter(column => column !== 'kind' || rows.some(({ kind }) => kind !== undefined))
  return textTable([columns, ...rows.map(row => columns.map(column => row[column] ?? ''))])
}

function rowOf({ team }: TeamEntry, key: TeamKey, nowMs: number): Row {
  const { id, created, expires, note, test } = key
  const kind = test ? 'test' : undefined
  return Object.fromEntries(
    Object.entries({
      team: team.id,
      id,
      created,
      expires,
      kind,
      state: stateOf(key, team.disabled, nowMs),
      note,
    }).filter(([, value]) => value !== undefined),
  )
}

function stateOf({ revoked, expires }: TeamKey, isTeamDisabled: boolean, nowMs: number): string {
  if (revoked) return 'revoked'
  if (expires !== undefined && nowMs >= (endOfDate(expires) ?? 0)) return 'expired'
  return isTeamDisabled ? 'team disabled' : 'active'
}

async function revoke(args: string[], io: CliIo, { file, nowMs, done }: Where): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} })
  const id = keyIdIn(positionals)
  const outcome = await revokeKey(file, id, nowMs)
  io.stderr(OUTCOMES[outcome](id.slice(0, 8), file))
  if (outcome === 'revoked') await done({ action: 'key.revoked', subject: id })
  return outcome === 'unknown' ? 1 : 0
}

const OUTCOMES = {
  revoked: (id: string) => `Key ${id} is revoked. A running gateway refuses it within two seconds.`,
  'revoked before': (id: string) => `Key ${id} was revoked before.`,
  unknown: (id: string, file: string) => `There is no key ${JSON.stringify(id)} in ${file}.`,
}

async function readTeams(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`, { cause: error })
  }
}
