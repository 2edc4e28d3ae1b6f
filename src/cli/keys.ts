import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { loadSlices, teamsFile } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { TeamEntry, TeamKey } from '../contracts/keys.js'
import type { AuditedChange } from '../contracts/records.js'
import { parseApiKey } from '../teams/api-key.js'
import { endOfDate, expiryOf } from '../teams/key-dates.js'
import { addKey, revokeKey, rotateKey, validTeams } from '../teams/keys.js'
import { TEAM_ID } from '../teams/teams-file.js'
import { openAndRecordAudit } from './audit-trail.js'
import { type CliIo, type OpenStore, refuseMore, usageError } from './io.js'
import { textTable } from './text-table.js'

export const help = `Creates, lists, rotates and revokes team keys

segmind-gateway keys create <team> [--expires 90d|2027-11-01] [--note TEXT] [--name TEXT] [--test]
    Adds a key to TEAMS_FILE (default: teams.yaml in DATA_DIR), and the team if it is new.
    Prints the key as the only line on stdout, once; the file contains its SHA-256.
    --expires  days from now, or the last day (UTC) of validity
    --note     purpose of the key
    --name     name of a new team
    --test     a test key, which uses the sandbox and costs nothing (docs/test-keys.md)
segmind-gateway keys list [--json]
    Lists all keys, without their text: team, id, created, expires, kind (test), state, note.
segmind-gateway keys rotate <id> [--overlap 7d] [--expires 90d|2027-11-01]
    Replaces a key by a new one of the same team, kind and note. Both are valid during the overlap.
    Prints the new key as the only line on stdout.
    --overlap  days that the old key stays valid; 0d revokes it immediately
    --expires  expiry of the new key; default: the same lifetime as the old key had
segmind-gateway keys revoke <id>
    Revokes a key, given by its id or its whole text. A running gateway refuses it within two seconds.`

export interface KeysOptions {
  /** Opens the store for the audit log. Without it, changes are not recorded. */
  openStore?: OpenStore
  /** For tests. */
  now?: Clock
}

const VERBS = { create, list, rotate, revoke }

/** `segmind-gateway keys …`. Rejects with an `Error` for the operator. */
export async function run(args: string[], io: CliIo, { openStore, now = Date.now }: KeysOptions = {}): Promise<number> {
  const [verb, ...rest] = args
  const settings = loadSlices(io.env, ['teams', 'store'])
  const { file } = teamsFile(settings)
  const command = VERBS[verb as keyof typeof VERBS]
  const known = 'create, list, rotate or revoke'
  if (!command || !Object.hasOwn(VERBS, verb ?? ''))
    throw usageError(verb === undefined ? `give ${known}` : `unknown subcommand ${verb}; use ${known}`)
  const recordChange = (change: AuditedChange) => openAndRecordAudit(settings, change, { openStore, io, now })
  return command(rest, io, { file, nowMs: now(), recordChange })
}

interface Context {
  file: string
  nowMs: number
  /** Records the change in the audit log. */
  recordChange(change: AuditedChange): Promise<void>
}

async function create(args: string[], io: CliIo, { file, nowMs, recordChange }: Context): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: CREATE_OPTIONS })
  const [team, ...more] = positionals
  if (team === undefined) throw usageError('give a team id')
  refuseMore(more)
  if (!TEAM_ID.test(team)) throw usageError('a team id consists of 1 to 32 characters a-z, 0-9 and -')
  checkLine('--note', values.note, { min: 0, max: 200 })
  checkLine('--name', values.name, { min: 1, max: 100 })
  const expires = expiryIn(values.expires, nowMs)
  const { key, isNewTeam } = await addKey({
    file,
    team,
    name: values.name,
    note: values.note,
    expires,
    nowMs,
    isTest: values.test ?? false,
  })
  io.stdout(key.text)
  const end = expires === undefined ? 'it does not expire' : `it is valid through ${expires} (UTC)`
  const kind = values.test ? 'Test key' : 'Key'
  io.stderr(`${kind} ${key.id} for the ${isNewTeam ? 'new team' : 'team'} ${team} was added to ${file}; ${end}.`)
  if (!isNewTeam && values.name !== undefined) io.stderr('The team already exists; its name was not changed.')
  io.stderr('The key is not shown again. A running gateway accepts it within two seconds.')
  const details = { team, isNewTeam, test: values.test ?? false, ...defined({ expires }) }
  await recordChange({ action: 'key.created', subject: key.id, details })
  return 0
}

function expiryIn(input: string | undefined, nowMs: number): string | undefined {
  if (input === undefined) return undefined
  const expires = expiryOf(input, nowMs)
  if (expires !== undefined) return expires
  throw usageError('--expires takes a number of days (90d) or a date (2027-11-01) that has not passed')
}

const ROTATE_OPTIONS = { overlap: { type: 'string', default: '7d' }, expires: { type: 'string' } } as const
const DAY_MS = 86_400_000

async function rotate(args: string[], io: CliIo, { file, nowMs, recordChange }: Context): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: ROTATE_OPTIONS })
  const keyId = keyIdIn(positionals)
  const [, days] = /^(\d{1,2})d$/.exec(values.overlap) ?? []
  if (days === undefined || Number(days) > 90) throw usageError('--overlap takes a number of days, 0d to 90d')
  const expires = expiryIn(values.expires, nowMs)
  const rotated = await rotateKey({ file, keyId, overlapMs: Number(days) * DAY_MS, expires, nowMs })
  if (!rotated) throw new Error(`There is no key ${JSON.stringify(keyId.slice(0, 8))} in ${file} that can be replaced.`)
  const { key, team, oldEnds } = rotated
  io.stdout(key.text)
  io.stderr(`Key ${key.id} of team ${team} replaces ${keyId}, which is valid until ${oldEnds}.`)
  io.stderr('The key is not shown again. A running gateway accepts it within two seconds.')
  await recordChange({ action: 'key.rotated', subject: keyId, details: { team, replacedBy: key.id, oldEnds } })
  return 0
}

/** Reads the id from an argument that is a key id or a whole key. */
function keyIdIn([given, ...more]: readonly string[]): string {
  if (given === undefined) throw usageError('give a key id, as shown by keys list')
  refuseMore(more)
  return parseApiKey(given)?.id ?? given
}

/** Checks a text that must fit on one line of the teams file and of tables. */
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

async function list(args: string[], io: CliIo, { file, nowMs }: Context): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { json: { type: 'boolean' } } })
  refuseMore(positionals)
  const rows = validTeams(await readTeams(file), file).flatMap(entry => entry.keys.map(key => rowOf(entry, key, nowMs)))
  if (values.json) io.stdout(JSON.stringify(rows, null, 2))
  else for (const line of tableOf(rows)) io.stdout(line)
  return 0
}

const COLUMNS = ['team', 'id', 'created', 'expires', 'kind', 'state', 'note'] as const

type KeyRow = Partial<Record<(typeof COLUMNS)[number], string>>

/** Renders the keys as a table. Omits the column `kind` when no key has one. */
function tableOf(rows: readonly KeyRow[]): string[] {
  const columns = COLUMNS.filter(column => column !== 'kind' || rows.some(({ kind }) => kind !== undefined))
  return textTable([columns, ...rows.map(row => columns.map(column => row[column] ?? ''))])
}

function rowOf({ team }: TeamEntry, key: TeamKey, nowMs: number): KeyRow {
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

async function revoke(args: string[], io: CliIo, { file, nowMs, recordChange }: Context): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} })
  const id = keyIdIn(positionals)
  const outcome = await revokeKey(file, id, nowMs)
  io.stderr(OUTCOMES[outcome](id.slice(0, 8), file))
  if (outcome === 'revoked') await recordChange({ action: 'key.revoked', subject: id })
  return outcome === 'unknown' ? 1 : 0
}

const OUTCOMES = {
  revoked: (id: string) => `Key ${id} was revoked. A running gateway refuses it within two seconds.`,
  'revoked before': (id: string) => `Key ${id} was already revoked.`,
  unknown: (id: string, file: string) => `There is no key ${JSON.stringify(id)} in ${file}.`,
}

async function readTeams(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`, { cause: error })
  }
}
