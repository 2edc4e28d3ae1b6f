import { parseArgs } from 'node:util'
import { loadSettings, type Settings } from '../config.js'
import type { Store, UsageDay } from '../storage.js'
import { TEAM_ID } from '../teams/teams-file.js'
import { type CliIo, usageError } from './io.js'
import { asCsv, asJson, asTable, statementOf } from './usage-table.js'

export const help = `Tells what the teams used and what it cost

segmind-gateway usage [--month 2026-11] [--team ID] [--csv | --json]
    Reads the ledger of the store the settings name. Amounts are Segmind's credits.
    --month  default: this month in BUDGET_TIMEZONE
    --team   only this team
    --csv    for a spreadsheet: one line a team and day
    --json   with totals; amounts as decimal strings`

/** Opens the store that the settings name; `main.ts` knows the stores. */
export type OpenStore = (settings: Settings) => Promise<Store>

/** `segmind-gateway usage`. Rejects with an `Error` for people. `now` is for tests. */
export async function run(args: string[], io: CliIo, openStore: OpenStore, now = Date.now): Promise<number> {
  const { values } = parseArgs({ args, options: OPTIONS })
  const settings = loadSettings(io.env)
  const month = values.month ?? monthOf(now(), settings.credits.timeZone)
  if (!/^\d{4}-(?:0[1-9]|1[0-2])$/.test(month)) throw usageError('--month takes a month such as 2026-11')
  if (values.team !== undefined && !TEAM_ID.test(values.team)) throw usageError('--team takes the id of a team')
  if (values.csv && values.json) throw usageError('--csv or --json, not both')
  const statement = statementOf(month, await readUsage(await openStore(settings), month, values.team))
  if (values.json) io.stdout(asJson(statement))
  else for (const line of values.csv ? asCsv(statement) : asTable(statement)) io.stdout(line)
  return 0
}

const OPTIONS = {
  month: { type: 'string' },
  team: { type: 'string' },
  csv: { type: 'boolean' },
  json: { type: 'boolean' },
} as const

async function readUsage(store: Store, month: string, team: string | undefined): Promise<UsageDay[]> {
  try {
    return await store.ledger.usage(month, team)
  } finally {
    await store.close()
  }
}

/** The month of a moment in a time zone: `2026-11`. */
function monthOf(nowMs: number, timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en', { timeZone, year: 'numeric', month: '2-digit' }).formatToParts(nowMs)
  const part = (type: string) => parts.find(found => found.type === type)?.value ?? ''
  return `${part('year')}-${part('month')}`
}
