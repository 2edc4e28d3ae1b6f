import { parseArgs } from 'node:util'
import { loadSlices } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import { formatCredits } from '../contracts/nanocredits.js'
import type { LedgerEntry, LedgerTotals, LedgerWitness, RecordStore, RolledUpCalls, Store } from '../contracts/store.js'
import { Closings } from '../credits/closing.js'
import { daysOf, type Mismatch, verifyDay, verifyMonth, verifyTotals } from '../credits/wholeness/verify.js'
import { type WitnessFile, witnessFile } from '../credits/wholeness/witness-file.js'
import { readAuditChain } from '../operations/audit-chain.js'
import { recordAudit } from './audit-trail.js'
import { type CliIo, type OpenStore, refuseMore, usageError } from './io.js'

export const help = `Verifies and exports the ledger, and accepts one that was lost

segmind-gateway ledger verify
    Compares the sums of all days, months and of the ledger with its entries, and verifies the chain of the audit
    log and the closed months. Prints each mismatch on a line. Exits with 0 if the ledger is whole, Redis cannot
    evict it and nothing differs, else with 1. May run beside a gateway: sums that keep changing are a note.
segmind-gateway ledger accept
    After the ledger was lost or rolled back: prints what was known before and what is there now, and opens the
    budgets again. Spending that the ledger has lost no longer counts. Does nothing if the ledger is whole.
segmind-gateway ledger export [--month 2026-11]
    Prints every call as a line of JSON (NDJSON), day by day, unsorted within a day. Amounts are Segmind credits as
    decimal strings.
    Calls that were rolled up (LEDGER_RETENTION_DAYS) are one line for each team and day.
    --month  default: every month`

const EVICTABLE = 'Redis may evict the ledger: its maxmemory-policy is allkeys-*; set it to volatile-lru'
/** Reads of a window that changes meanwhile, and the pause between them. */
const ROUNDS = 3
const PAUSE_MS = 100

const VERBS = 'verify, accept or export'
const MONTH = /^\d{4}-(?:0[1-9]|1[0-2])$/

/** `segmind-gateway ledger …`. Rejects with an `Error` for the operator. `now` is for tests. */
export async function run(args: string[], io: CliIo, openStore: OpenStore, now = Date.now): Promise<number> {
  const { positionals, values } = parseArgs({ args, allowPositionals: true, options: { month: { type: 'string' } } })
  const [verb, ...more] = positionals
  const { month } = values
  refuseMore(more)
  if (verb !== 'verify' && verb !== 'accept' && verb !== 'export')
    throw usageError(`give ${VERBS}, not ${verb ?? 'nothing'}`)
  if (month !== undefined && verb !== 'export') throw usageError('--month is an option of export')
  if (month !== undefined && !MONTH.test(month)) throw usageError('--month takes a month, such as 2026-11')
  const settings = loadSlices(io.env, ['store'])
  const { placeOf } = await import('../store/open-store.js')
  const file = witnessFile(placeOf(settings.store))
  if (file.isOfAnotherStore()) io.stderr('ledger-witness.json is about another store and was ignored')
  const store = await openStore(settings)
  try {
    if (verb === 'export') return await exportEntries(store.ledger, month, io)
    return verb === 'verify' ? await verify(store, file, io) : await accept(store, file, { io, now })
  } finally {
    await store.close()
  }
}

async function verify(store: Store, file: WitnessFile, io: CliIo): Promise<number> {
  const { ledger, records } = store
  const totals = await ledger.totals(file.read())
  io.stdout(describe(totals))
  const problems = totals.loss ? [`the ledger was lost: ${totals.loss.reason}`] : []
  if (store.mayEvict()) problems.push(EVICTABLE)
  const months = await ledger.months()
  let days = 0
  let unverified = 0
  const add = async (window: string, read: () => Promise<Mismatch[] | undefined>) => {
    const found = await repeated(read)
    problems.push(...(found ?? []).map(sentenceOf))
    if (found) return
    unverified++
    io.stdout(`note: ${window}: not verified, because it kept changing`)
  }
  for (const month of months) {
    for (const day of await daysOf(ledger, month)) {
      days++
      await add(day, () => verifyDay(ledger, day))
    }
    await add(month, () => verifyMonth(ledger, month))
  }
  await add('ledger', () => verifyTotals(ledger))
  problems.push(...(await verifyRecords(records)))
  for (const problem of problems) io.stdout(problem)
  const doubts = unverified > 0 ? `, ${counted(unverified, 'sum')} not verified` : ''
  const windows = `${counted(days, 'day')} in ${counted(months.length, 'month')}${doubts}`
  if (problems.length === 0) io.stdout(`ok: ${windows}`)
  return problems.length === 0 ? 0 : 1
}

/** Reads a window that calls keep changing a few times. */
async function repeated<T>(read: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let round = 1; ; round++) {
    const found = await read()
    if (found !== undefined || round === ROUNDS) return found
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  }
}

async function accept(store: Store, file: WitnessFile, { io, now }: { io: CliIo; now: Clock }): Promise<number> {
  const { ledger } = store
  const known = file.read()
  const { loss, ...found } = await ledger.totals(known)
  const isEvictable = store.mayEvict()
  if (isEvictable) io.stderr(`${EVICTABLE}. Until then, budgets stay closed.`)
  if (!loss) {
    io.stdout(isEvictable ? 'There is nothing to accept.' : 'The ledger is whole. There is nothing to accept.')
    return isEvictable ? 1 : 0
  }
  io.stdout(`reason: ${loss.reason}`)
  io.stdout(`before: ${loss.expected.epoch === '' ? 'unknown' : identityOf(loss.expected)}`)
  io.stdout(`now:    ${describe(found)}`)
  await ledger.accept(known?.epoch)
  const accepted = await ledger.totals()
  file.write(accepted)
  io.stderr(`The ledger is accepted as it is now.${isEvictable ? '' : ' Budgets are checked again.'}`)
  const details = { reason: loss.reason, expected: loss.expected, found: loss.found }
  await recordAudit({ action: 'ledger.accepted', subject: accepted.epoch, details }, store, io, now)
  return isEvictable ? 1 : 0
}

/**
 * Prints the entries by day, in no particular order within a day. One page is in memory at a time.
 */
async function exportEntries(ledger: Store['ledger'], month: string | undefined, io: CliIo): Promise<number> {
  for (const each of month === undefined ? await ledger.months() : [month])
    for (const day of await daysOf(ledger, each)) {
      for await (const page of ledger.entries(day)) for (const entry of page) io.stdout(JSON.stringify(toExport(entry)))
      for (const mark of await ledger.rolledUp(day)) io.stdout(JSON.stringify(toExportedMark(day, mark)))
    }
  return 0
}

function toExportedMark(day: string, { team, calls, charged, digest }: RolledUpCalls) {
  return { state: 'rolled up', day, team, calls, costCredits: formatCredits(charged), digest }
}

function toExport({ at, estimate, settled, ...entry }: LedgerEntry) {
  const { cost, settledAt, outcome: _state, ...known } = settled ?? {}
  return {
    ...entry,
    at: new Date(at).toISOString(),
    estimateCredits: formatCredits(estimate),
    ...known,
    ...defined({ costCredits: cost === undefined ? undefined : formatCredits(cost) }),
    ...defined({ settledAt: settledAt === undefined ? undefined : new Date(settledAt).toISOString() }),
  }
}

/** Verifies the chain of the audit log, and the closed months by the digests in it. */
async function verifyRecords(records: RecordStore): Promise<string[]> {
  const { entries, problems } = await readAuditChain(records)
  const seals = new Map<string, unknown>()
  for (const { action, subject, details } of entries) {
    if (action === 'month.closed') seals.set(subject, details?.sha256)
    if (action === 'month.reopened') seals.delete(subject)
  }
  const closings = new Closings(records)
  for (const [month, seal] of seals)
    if (seal !== undefined && seal !== (await closings.seal(month)))
      problems.push(`${month}: the frozen statement differs from its digest in the audit log`)
  return problems
}

function describe(totals: LedgerTotals): string {
  const { calls, spent, reservedCalls, reserved } = totals
  const booked = `${counted(calls, 'call')} for ${formatCredits(spent)} credits`
  return `${identityOf(totals)}: ${booked}, ${reservedCalls} reserved for ${formatCredits(reserved)}`
}

function identityOf({ epoch, sequence, checksum }: LedgerWitness): string {
  return epoch === '' ? 'no epoch yet' : `epoch ${epoch}, sequence ${sequence}, checksum ${checksum}`
}

function sentenceOf({ window, team, figure, booked, computed }: Mismatch): string {
  const format = (amount: number) => (figure.endsWith('alls') ? String(amount) : formatCredits(amount))
  const where = team === undefined ? window : `${window}, team ${team}`
  return `${where}: ${figure} is ${format(booked)}, its parts add up to ${format(computed)}`
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
