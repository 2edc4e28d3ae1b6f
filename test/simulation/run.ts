import './virtual-time.js'
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { check, checkClean } from './check.js'
import type { History } from './history.js'
import { planOf } from './plan.js'
import { START } from './virtual-time.js'
import { simulateDays } from './week.js'
import { simulate } from './world.js'

/** Results of a range of seeds. */
interface Report {
  seeds: number
  requests: number
  violations: number
  /** Of all histories. */
  hash: string
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1000' },
    jobs: { type: 'string', default: '1' },
    days: { type: 'string' },
  },
})
const [from, seeds, jobs] = [values.from, values.seeds, values.jobs].map(Number) as [number, number, number]
// Many errors are expected, and their stacks would take a tenth of the time.
if (values.seed === undefined) Error.stackTraceLimit = 0
const startedAt = process.hrtime.bigint()
if (values.days !== undefined) await runDays(from, Number(values.days))
else if (values.seed !== undefined) await replay(Number(values.seed))
else if (process.send) process.send(await runRange(from, seeds), () => process.exit())
else await runAll()

/** Runs one seed and prints its history. */
async function replay(seed: number): Promise<void> {
  const history = await simulate(planOf(seed))
  print(history)
  process.exit(report(seed, history) > 0 ? 1 : 0)
}

/** Runs days without faults, in which nothing may be reported. */
async function runDays(seed: number, days: number): Promise<void> {
  const { history, alerts } = await simulateDays(seed, days)
  const found = [...check(history), ...checkClean(history, alerts)]
  for (const { rule, message } of found) console.log(`seed ${seed}: ${rule}: ${message}`)
  console.log(
    `${days} days, ${history.requests.length} requests, ${history.calls.length} calls, ${found.length} violations`,
  )
  process.exit(found.length > 0 ? 1 : 0)
}

async function runAll(): Promise<void> {
  const share = Math.ceil(seeds / jobs)
  const ranges = Array.from({ length: jobs }, (_, job) => [from + job * share, Math.min(share, seeds - job * share)])
  const reports = await Promise.all(
    ranges.map(([first = 0, count = 0]) => (jobs === 1 ? runRange(first, count) : inChild(first, count))),
  )
  const sum = (figure: 'seeds' | 'requests' | 'violations') => reports.reduce((total, each) => total + each[figure], 0)
  const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9
  const hash = reports.map(each => each.hash).join(' ')
  console.log(
    `${sum('seeds')} seeds, ${sum('requests')} requests, ${sum('violations')} violations, ` +
      `${Math.round(seconds)} s, ${Math.round(sum('requests') / seconds)} requests/s, hash ${hash}`,
  )
  process.exit(sum('violations') > 0 ? 1 : 0)
}

function inChild(first: number, count: number): Promise<Report> {
  const child = fork(fileURLToPath(import.meta.url), ['--from', String(first), '--seeds', String(count)])
  return new Promise((resolve, reject) => {
    child.once('message', report => resolve(report as Report))
    child.once('exit', code => code && reject(new Error(`the range from ${first} ended with ${code}`)))
  })
}

async function runRange(first: number, count: number): Promise<Report> {
  const total: Report = { seeds: 0, requests: 0, violations: 0, hash: '' }
  const hash = createHash('sha256')
  for (let seed = first; seed < first + count; seed++) {
    const history = await simulate(planOf(seed))
    total.seeds++
    total.requests += history.requests.length
    total.violations += report(seed, history)
    hash.update(JSON.stringify(history, plain))
  }
  return { ...total, hash: hash.digest('hex').slice(0, 16) }
}

function report(seed: number, history: History): number {
  const violations = check(history)
  for (const { rule, message } of violations) console.log(`seed ${seed}: ${rule}: ${message}`)
  return violations.length
}

/** Prints everything in the order of its time, in milliseconds since the start. */
function print({ plan, calls, requests, faults, logs, entries, account, ...rest }: History): void {
  const all = [
    ...faults.map(fault => ({ time: fault.from, ...fault })),
    ...requests.map(({ at, ...request }) => ({ time: at, ...request })),
    ...calls.map(({ at, ...call }) => ({ time: at, call: call.id, ...call })),
    ...logs.map(({ at, ...line }) => ({ time: at, ...line })),
  ]
  const text = (value: unknown) =>
    JSON.stringify(value, plain).replace(/\b1[78]\d{11}\b/g, time => String(Number(time) - START))
  console.log(text({ ...plan, requests: undefined }))
  for (const one of all.sort((a, b) => a.time - b.time)) console.log(text(one))
  for (const entry of entries) console.log(text(entry))
  console.log(text(account))
  console.log(text(rest))
}

function plain(_name: string, value: unknown): unknown {
  return value instanceof Error ? value.message : value
}
