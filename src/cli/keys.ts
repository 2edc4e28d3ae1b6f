import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { loadSlices, teamsFile } from '../config.js'
import { parseApiKey } from '../teams/api-key.js'
import { endOfDate, expiryOf } from '../teams/key-dates.js'
import { addKey, revokeKey, validTeams } from '../teams/keys.js'
import { TEAM_ID, type TeamEntry, type TeamKey } from '../teams/teams-file.js'
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
segmind-gateway keys revoke <id>
    Marks a key, given by its id or whole, as revoked. A running gateway refuses it within two seconds.`

/** `segmind-gateway keys …`. Rejects with an `Error` for people. `now` is for tests. */
export async function run(args: string[], io: CliIo, now: () => number = Date.now): Promise<number> {
  const [verb, ...rest] = args
  const { file } = teamsFile(loadSlices(io.env, ['teams', 'store']))
  if (verb === 'create') return create(rest, io, { file, nowMs: now() })
  if (verb === 'list') return list(rest, io, { file, nowMs: now() })
  if (verb === 'revoke') return revoke(rest, io, { file, nowMs: now() })
  throw usageError(verb === undefined ? 'create, list or revoke?' : `there is no keys ${verb}: create, list or revoke`)
}

interface Where {
  file: string
  nowMs: number
}

async function create(args: string[], io: CliIo, { file, nowMs }: Where): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: CREATE_OPTIONS })
  const [team, ...more] = positionals
  if (team === undefined) throw usageError('which team?')
  refuseMore(more)
  if (!TEAM_ID.test(team)) throw usageError('a team id has 1 to 32 characters out of a-z, 0-9 and -')
  checkLine('--note', values.note, { min: 0, max: 200 })
  checkLine('--name', values.name, { min: 1, max: 100 })
  const expires = values.expires === undefined ? undefined : expiryOf(values.expires, nowMs)
  if (values.expires !== undefined && expires === undefined) {
    throw usageError('--expires takes a number of days (90d) or a date (2027-11-01) that is not over')
  }
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
  return 0
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

async function revoke(args: string[], io: CliIo, { file, nowMs }: Where): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} })
  const [given, ...more] = positionals
  if (given === undefined) throw usageError('which key? Give its id, as keys list shows it')
  refuseMore(more)
  const id = parseApiKey(given)?.id ?? given
  const outcome = await revokeKey(file, id, nowMs)
  io.stderr(OUTCOMES[outcome](id.slice(0, 8), file))
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
