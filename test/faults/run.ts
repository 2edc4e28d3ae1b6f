import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { audit, type Violation } from './auditor.js'
import { runPlan } from './drive.js'
import { planOf } from './schedule.js'
import { addTally, formatTally, type Tally, tallyOf } from './tally.js'

/** The message of a child process about its seed. */
interface Report {
  seed: number
  violations: Violation[]
  tally: Tally
  seconds: number
  /** Path of the history, if it was written. */
  file?: string
}

const SELF = fileURLToPath(import.meta.url)
/** Kills a run that hangs. */
const RUN_LIMIT_MS = 180_000

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    runs: { type: 'string', default: '20' },
    jobs: { type: 'string', default: '2' },
    keep: { type: 'boolean', default: false },
    child: { type: 'boolean', default: false },
  },
})

if (values.child) await runOne(Number(values.seed))
else process.exitCode = await runAll()

/** Runs one seed in this process and sends its report to the parent. */
async function runOne(seed: number): Promise<void> {
  // Exits with the parent. The guardians end the processes that this run started.
  for (const end of ['disconnect', 'SIGINT', 'SIGTERM'] as const)
    process.once(end as 'disconnect', () => process.exit(1))
  const startedAt = performance.now()
  const { history, logs } = await runPlan(planOf(seed))
  const violations = audit(history)
  const report: Report = {
    seed,
    violations,
    tally: tallyOf(history),
    seconds: Math.round((performance.now() - startedAt) / 100) / 10,
  }
  if (violations.length > 0 || values.keep)
    report.file = await writeHistory(seed, { plan: planOf(seed), violations, history, logs })
  process.send?.(report, () => process.disconnect())
}

async function writeHistory(seed: number, all: object): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), 'gateway-faults-seed-')), `${seed}.json`)
  await writeFile(file, JSON.stringify(all, undefined, 1))
  return file
}

async function runAll(): Promise<number> {
  const first = Number(values.seed ?? values.from)
  const count = values.seed === undefined ? Number(values.runs) : 1
  const seeds = Array.from({ length: count }, (_, index) => first + index)
  const failed: number[] = []
  const sum: Tally = {}
  const work = async () => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      const report = await runInChild(seed)
      console.log(formatReport(report))
      addTally(sum, report.tally)
      if (report.violations.length > 0) failed.push(seed)
    }
  }
  await Promise.all(Array.from({ length: Number(values.jobs) }, work))
  console.log(`\n${formatTally(sum)}`)
  console.log(
    `${count - failed.length} of ${count} runs passed${failed.length > 0 ? `; failed: ${failed.join(', ')}` : ''}`,
  )
  return failed.length > 0 ? 1 : 0
}

async function runInChild(seed: number): Promise<Report> {
  const keep = values.keep ? ['--keep'] : []
  const child = fork(SELF, ['--child', '--seed', String(seed), ...keep], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  const errors: string[] = []
  child.stderr?.on('data', chunk => errors.push(String(chunk)))
  const timer = setTimeout(() => child.kill('SIGTERM'), RUN_LIMIT_MS)
  let report: Report | undefined
  child.on('message', message => {
    report = message as Report
  })
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  if (report) return report
  const message = `the run ended with ${code ?? signal} and no report: ${errors.join('').trim()}`
  return { seed, violations: [{ rule: 'protocol', message }], tally: {}, seconds: RUN_LIMIT_MS / 1000 }
}

function formatReport({ seed, violations, tally, seconds, file }: Report): string {
  const summary = `${tally.requests ?? 0} requests, ${tally.calls ?? 0} calls, ${seconds} s`
  const kept = file ? [`    history: ${file}`] : []
  if (violations.length === 0) return [`ok   seed ${seed}: ${summary}`, ...kept].join('\n')
  const lines = violations.map(({ rule, message }) => `    ${rule}: ${message}`)
  return [
    `FAIL seed ${seed}: ${summary}`,
    ...lines,
    ...kept,
    `    repeat: node ${process.argv[1]} --seed ${seed}`,
  ].join('\n')
}
