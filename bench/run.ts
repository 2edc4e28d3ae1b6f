import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeTeamsFile } from '../test/support/gateway/teams-file.js'
import { startRedis } from '../test/support/programs/redis-server.js'
import { counterIn } from './bodies.js'
import { type Case, startCases } from './cases.js'
import type { LoadJob, LoadReport } from './load.js'
import { LOAD_CPU, pinned, usageOf } from './targets.js'

/**
 * Compares the processor time of a request with that of other servers, in interleaved rounds:
 * `npm run bench -- [--rounds 7] [--seconds 2] [--only TEXT] [--node PATH …] [--json FILE] [--check
 * FILE]`. `--check` compares the ratios with those of an earlier `--json`, and fails where one is
 * clearly worse. Linux only (`/proc`).
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
    node: { type: 'string', multiple: true },
    json: { type: 'string' },
    check: { type: 'string' },
  },
})
const ROUNDS = Number(values.rounds)
const SECONDS = Number(values.seconds)
const NODE_24 = '.build-node24/bin/node'
const nodes = values.node ?? [process.execPath, ...(existsSync(NODE_24) ? [NODE_24] : [])]
/** The lower quartile of the gateway's ratio may be this many times the earlier median. */
const TOLERANCE = 1.15

interface Row {
  target: string
  /** Microseconds of processor time per request. */
  cpu: number[]
  ratios: number[]
  p50: number
  p99: number
  requests: number
  residentBytes: number
  faults: number
  load: number
}

/** By case and server. */
type Report = Record<string, Row[]>

const dir = await mkdtemp(join(tmpdir(), 'bench-'))
const redis = await startRedis()
const { file: teamsFile, keys } = await writeTeamsFile(dir, { bench: { limits: { requests_per_minute: 1_000_000 } } })
const report: Report = {}
let isWorse = false
try {
  for (const node of nodes) {
    const cases = await startCases({ node, dir, redisUrl: redis.url, teamsFile, key: keys.bench })
    for (const each of cases) {
      const name = `Node ${await versionOf(node)}, ${each.name}`
      if (name.includes(values.only)) report[name] = await compare(name, each)
    }
  }
  if (values.json) await writeFile(values.json, `${JSON.stringify(report, roundNumbers, 1)}\n`)
  if (values.check) isWorse = hasWorse(JSON.parse(await readFile(values.check, 'utf8')))
} finally {
  await redis.close()
  await rm(dir, { recursive: true, force: true })
}
process.exit(isWorse ? 1 : 0)

/**
 * Prints each ratio of the gateway that is clearly worse than it was, or has no earlier figure.
 * Returns whether there is one.
 */
function hasWorse(earlier: Report): boolean {
  const worse = Object.entries(report).flatMap(([name, rows]) =>
    rows.slice(1).flatMap(({ target, ratios }) => {
      if (!target.startsWith('gateway')) return []
      const before = earlier[name]?.find(row => row.target === target)
      if (!before) return [`${name}, ${target}: no earlier figure`]
      const [was, is] = [quantile(before.ratios, 0.5), quantile(ratios, 0.25)]
      return is > was * TOLERANCE ? [`${name}, ${target}: ${is.toFixed(2)}, was ${was.toFixed(2)}`] : []
    }),
  )
  console.log(worse.length === 0 ? '\nNo ratio is clearly worse.' : `\nWorse, or not comparable:\n${worse.join('\n')}`)
  return worse.length > 0
}

function roundNumbers(_name: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(4)) : value
}

/** Measures each target in turn, round by round, and prints one table. */
async function compare(name: string, { targets, body, connections, unique }: Case): Promise<Row[]> {
  const rows = targets.map(
    ({ name }): Row => ({
      target: name,
      ...{ cpu: [], ratios: [], p50: 0, p99: 0, requests: 0, residentBytes: 0, faults: 0, load: 0 },
    }),
  )
  const file = join(dir, 'request')
  let first = Date.now() * 1000
  for (let round = -1; round < ROUNDS; round++)
    for (const [index, target] of targets.entries()) {
      const sent = target.body ?? body
      await writeFile(file, Buffer.concat([Buffer.from(sent.head), sent.content]))
      const job: LoadJob = {
        port: target.port,
        connections,
        seconds: SECONDS,
        file,
        ...(unique && { uniqueAt: counterIn(sent), first, isShared: unique === 'shared' }),
      }
      first += 10_000_000
      const before = usageOf(target.pid)
      const loaded = await drive(job)
      const after = usageOf(target.pid)
      const row = rows[index]
      if (round < 0 || !row) continue
      row.cpu.push(((after.cpuSeconds - before.cpuSeconds) / loaded.requests) * 1e6)
      row.faults = (after.minorFaults - before.minorFaults) / loaded.requests
      row.residentBytes = Math.max(row.residentBytes, after.residentBytes)
      row.requests += loaded.requests
      row.load = Math.max(row.load, loaded.load)
      row.p50 += loaded.p50 / ROUNDS
      row.p99 += loaded.p99 / ROUNDS
    }
  for (const row of rows) row.ratios = row.cpu.map((cpu, round) => cpu / (rows[0]?.cpu[round] ?? cpu))
  print(name, rows)
  return rows
}

async function drive(job: LoadJob): Promise<LoadReport> {
  const program = fileURLToPath(new URL('./load.js', import.meta.url))
  const child = pinned(LOAD_CPU, [process.execPath, program, JSON.stringify(job)])
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) return JSON.parse(line)
  throw new Error('the load failed')
}

function print(name: string, rows: readonly Row[]): void {
  console.log(`\n### ${name}\n`)
  console.log('| server | CPU, µs | ratio | quartiles | best rounds | p50, ms | p99, ms | MiB | minor faults | load |')
  console.log('|---|---|---|---|---|---|---|---|---|---|')
  const best = Math.min(...(rows[0]?.cpu ?? []))
  for (const { target, cpu, ratios, p50, p99, residentBytes, faults, load } of rows) {
    const cells = [
      target,
      quantile(cpu, 0.5).toFixed(0),
      quantile(ratios, 0.5).toFixed(2),
      `${quantile(ratios, 0.25).toFixed(2)}–${quantile(ratios, 0.75).toFixed(2)}`,
      (Math.min(...cpu) / best).toFixed(2),
      p50.toFixed(1),
      p99.toFixed(1),
      (residentBytes / 2 ** 20).toFixed(0),
      faults.toFixed(0),
      `${(load * 100).toFixed(0)} %`,
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

async function versionOf(node: string): Promise<string> {
  const child = pinned(LOAD_CPU, [node, '--version'])
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream }))
    return line.replace(/^v(\d+).*/, '$1')
  return node
}
