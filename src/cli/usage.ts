import { parseArgs } from 'node:util'
import { loadSettings } from '../config/index.js'
import type { Statement } from '../contracts/statements.js'
import { accountMonth } from '../credits/account/record.js'
import { MonthStatements } from '../credits/month-statements.js'
import { asCsv } from '../credits/statement-rows.js'
import { createBudgetCalendar } from '../credits/windows.js'
import { TEAM_ID } from '../teams/teams-file.js'
import { recordAudit } from './audit-trail.js'
import { type CliIo, type OpenStore, refuseMore, usageError } from './io.js'
import { asJson, asTable } from './usage-table.js'

export const help = `Shows the usage of the teams and its cost

segmind-gateway usage [--month 2026-11] [--team ID] [--csv | --json]
    Reads the ledger of the configured store. Amounts are Segmind credits.
    --month  default: this month in BUDGET_TIMEZONE
    --team   only this team
    --csv    for a spreadsheet: one line for each team and day
    --json   with totals; amounts as decimal strings
segmind-gateway usage close --month 2026-11 [--csv | --json]
    Freezes the statement of a past month without calls in flight. Later bookings are shown separately.
segmind-gateway usage reopen --month 2026-11 [--csv | --json]
    Reopens a closed month, and prints the frozen statement once more.`

/** `segmind-gateway usage`. Rejects with an `Error` for the operator. `now` is for tests. */
export async function run(args: string[], io: CliIo, openStore: OpenStore, now = Date.now): Promise<number> {
  const options = optionsOf(args)
  const settings = loadSettings(io.env)
  const calendar = createBudgetCalendar(settings.credits.timeZone)
  const { verb, month = calendar.windows(now()).month } = options
  const store = await openStore(settings)
  try {
    const statements = new MonthStatements({
      usage: (month, team) => store.ledger.usage(month, team),
      account: month => accountMonth(store.records, month),
      records: store.records,
      policy: settings.credits.chargeback,
      calendar,
      now,
    })
    const statement = await ACTIONS[verb](statements, month, options.team)
    for (const line of await linesOf(statement, options, statements)) io.stdout(line)
    if (verb !== 'read') {
      io.stderr(verb === 'close' ? `${month} is closed.` : `${month} is open again.`)
      await recordAudit(
        verb === 'close'
          ? { action: 'month.closed', subject: month, details: await statements.seal(month) }
          : { action: 'month.reopened', subject: month },
        store,
        io,
        now,
      )
    }
    return 0
  } finally {
    await store.close()
  }
}

type Verb = 'read' | 'close' | 'reopen'

const ACTIONS: Record<Verb, (statements: MonthStatements, month: string, team?: string) => Promise<Statement>> = {
  read: (statements, month, team) => statements.read(month, team),
  close: (statements, month) => statements.close(month, 'cli'),
  reopen: (statements, month) => statements.reopen(month, 'cli'),
}

const OPTIONS = {
  month: { type: 'string' },
  team: { type: 'string' },
  csv: { type: 'boolean' },
  json: { type: 'boolean' },
} as const

function optionsOf(args: string[]) {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS })
  const { month, team, csv = false, json = false } = values
  const verb = verbOf(positionals)
  if (month === undefined && verb !== 'read') throw usageError(`${verb} needs --month, such as 2026-11`)
  if (month !== undefined && !/^\d{4}-(?:0[1-9]|1[0-2])$/.test(month))
    throw usageError('--month takes a month, such as 2026-11')
  if (team !== undefined && !TEAM_ID.test(team)) throw usageError('--team takes the id of a team')
  if (team !== undefined && verb !== 'read') throw usageError(`${verb} applies to all teams; omit --team`)
  if (csv && json) throw usageError('give --csv or --json, not both')
  return { verb, month, team, csv, json }
}

function verbOf([verb, ...more]: readonly string[]): Verb {
  refuseMore(more)
  if (verb === undefined) return 'read'
  if (verb === 'close' || verb === 'reopen') return verb
  throw usageError(`unknown subcommand ${verb}; use close, reopen or none`)
}

async function linesOf(
  statement: Statement,
  { csv, json }: { csv: boolean; json: boolean },
  statements: MonthStatements,
): Promise<Iterable<string>> {
  if (csv) return asCsv(statement)
  return json ? [asJson(statement, await statements.history(statement.month))] : asTable(statement)
}
