import { readContract } from '../support/gateway/contract.js'
import { type Random, randomFrom } from '../support/random.js'
import { jsonCase, multipartCase, pointsCase } from './bodies.js'
import type { Case } from './case.js'
import { expectNormalService, headersCase } from './headers.js'
import { openapiCase } from './openapi.js'
import { teamsCase } from './teams.js'
import { upstreamCase } from './upstream.js'
import { describeRequest, type FuzzRequest } from './wire.js'
import { startWorld, type World } from './world.js'

const AREAS: Readonly<Record<string, (fuzz: Case) => Promise<void>>> = {
  multipart: multipartCase,
  json: jsonCase,
  headers: headersCase,
  points: pointsCase,
  teams: teamsCase,
  upstream: upstreamCase,
  openapi: openapiCase,
}
/** Cases after which the gateway as a whole is checked, and cases that one gateway serves. */
const GROUP_SIZE = 50
const CASES_PER_GATEWAY = 500

export interface Failure {
  seed: number
  area: string
  problem: string
}

export interface CaseRange {
  from: number
  cases: number
  /** Default: all areas. The seeds of others are left out. */
  areas?: readonly string[]
}

/** Runs the cases of consecutive seeds, one after another. Calls `onFailure` for each problem. */
export async function runCases(
  { from, cases, areas = Object.keys(AREAS) }: CaseRange,
  onFailure: (failure: Failure) => void,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const strays: string[] = []
  const onStray = (error: unknown) => void strays.push(`unhandled: ${error instanceof Error ? error.stack : error}`)
  process.on('unhandledRejection', onStray).on('uncaughtException', onStray)
  try {
    const contract = await readContract()
    let world: World | undefined
    let served = 0
    const end = async () => {
      const stopping = world
      world = undefined
      await stopping?.stop()
    }
    const all = Array.from({ length: cases }, (_, index) => ({ seed: from + index, area: areaOf(from + index) }))
    const selected = all.filter(({ area }) => areas.includes(area))
    for (const { seed, area } of selected) {
      world ??= await startWorld(contract)
      counts[area] = (counts[area] ?? 0) + 1
      const report = (problem: string) => onFailure({ seed, area, problem })
      await runOne(
        { seed, world, random: randomFrom(seed).fork(area), run: AREAS[area] as (fuzz: Case) => Promise<void> },
        report,
      )
      served++
      const isLast = seed === selected.at(-1)?.seed
      if (served % GROUP_SIZE === 0 || isLast || world.isSpent) await checkAtRest(world, seed, report)
      for (const stray of strays.splice(0)) report(stray)
      if (isLast || world.isSpent || served % CASES_PER_GATEWAY === 0) await end()
    }
    return counts
  } finally {
    process.off('unhandledRejection', onStray).off('uncaughtException', onStray)
  }
}

function areaOf(seed: number): string {
  const names = Object.keys(AREAS)
  return names[seed % names.length] as string
}

interface Run {
  seed: number
  world: World
  random: Random
  run(fuzz: Case): Promise<void>
}

async function runOne({ seed, world, random, run }: Run, report: (problem: string) => void): Promise<void> {
  let last: FuzzRequest | undefined
  const tell = (problem: string) => report(last ? `${problem}\n    ${describeRequest(last)}` : problem)
  const fuzz: Case = {
    seed,
    random,
    world,
    check: (isGood, problem) => {
      if (!isGood) tell(problem)
    },
    async send(request, mayFail) {
      last = request
      const { answer, problems } = await world.judge(request, mayFail)
      for (const problem of problems) tell(problem)
      return answer
    },
  }
  await run(fuzz).catch(error => tell(String(error.stack ?? error)))
}

/** The gateway still serves, holds nothing, and has logged neither errors nor secrets. */
async function checkAtRest(world: World, seed: number, report: (problem: string) => void): Promise<void> {
  const serves = (fuzz: Case) => (world.isSpent ? Promise.resolve() : expectNormalService(fuzz, `at rest ${seed}`))
  await runOne({ seed, world, random: randomFrom(seed), run: serves }, report)
  const problems = await world.problemsAtRest().catch(error => [String(error.message)])
  for (const problem of problems) report(`after this case or one of the ${GROUP_SIZE} before: ${problem}`)
}
