import { parseArgs } from 'node:util'
import { loadSettings } from '../config/index.js'
import type { LedgerBooks, LedgerStore } from '../contracts/store.js'
import { type PaidCall, paidCallOf, type WasteReport, WasteSearch, type WasteTerms } from '../credits/waste.js'
import { createBudgetCalendar } from '../credits/windows.js'
import { TEAM_ID } from '../teams/teams-file.js'
import { type CliIo, type OpenStore, usageError } from './io.js'
import { asJson, asText } from './waste-text.js'

export const help = `Shows avoidable spending

segmind-gateway waste [--month 2026-11] [--team ID] [--json]
    Reads the ledger of the configured store, for that month and the 31 days before it. Amounts are Segmind credits.
    --month  default: this month in BUDGET_TIMEZONE
    --team   only this team
    --json   amounts as decimal strings`

/** Days before the month that are read, to find earlier purchases. */
const DAYS_BEFORE = 31
const DAY_MS = 86_400_000

/** `segmind-gateway waste`. Rejects with an `Error` for the operator. `now` is for tests. */
export async function run(args: string[], io: CliIo, openStore: OpenStore, now = Date.now): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { month: { type: 'string' }, team: { type: 'string' }, json: { type: 'boolean' } },
  })
  const settings = loadSettings(io.env)
  const month = values.month ?? createBudgetCalendar(settings.credits.timeZone).windows(now()).month
  if (!/^\d{4}-(?:0[1-9]|1[0-2])$/.test(month)) throw usageError('--month takes a month, such as 2026-11')
  if (values.team !== undefined && !TEAM_ID.test(values.team)) throw usageError('--team takes the id of a team')
  const store = await openStore(settings)
  try {
    const terms = { month, team: values.team, freshMs: settings.cache.ttlSeconds * 1000 }
    const report = await search(store.ledger, terms)
    if (values.json) io.stdout(asJson(month, report))
    else for (const line of asText(month, report, settings.images.pixelDigest)) io.stdout(line)
    return 0
  } finally {
    await store.close()
  }
}

type WasteLedger = Pick<LedgerStore, 'entries'> & Pick<LedgerBooks, 'rolledUp'>

/** Reads the calls day by day, so that the paid calls of one day are in memory at a time. */
async function search(ledger: WasteLedger, terms: WasteTerms): Promise<WasteReport> {
  const found = new WasteSearch(terms)
  const first = Date.parse(`${terms.month}-01T00:00:00Z`)
  for (let day = -DAYS_BEFORE; day < 31; day++) {
    const name = new Date(first + day * DAY_MS).toISOString().slice(0, 10)
    if (day >= 0 && !name.startsWith(terms.month)) break
    const calls: PaidCall[] = []
    for await (const page of ledger.entries(name)) calls.push(...page.flatMap(entry => paidCallOf(entry) ?? []))
    found.add(calls)
    found.addRolledUp(name, await ledger.rolledUp(name))
  }
  return found.report()
}
