import { Session } from 'node:inspector/promises'
import { startTestGateway } from '../test/support/gateway/gateway.js'

/**
 * Counts the files and named functions of `src` that one request executes after a warm-up, by V8's
 * precise coverage. A function counts when every one of several equal requests executes it. A timer
 * fires during some of them only, so heartbeats, polls and the batched writes that a timer does
 * later for many requests do not count. Work that a request starts and that ends within `SETTLE_MS`
 * of its response counts (store writes, the log, explanations). An anonymous function counts as
 * part of the function that contains it. Run: npm run build && npm run build:test && node
 * .build/bench/coverage.js [--list]
 */
const WARM_UP = 20
const ROUNDS = 12
/**
 * Lets work behind a response finish before the count. Shorter than the interval of every timer.
 */
const SETTLE_MS = 200

const gateway = await startTestGateway({ env: { LOG_LEVEL: 'info' } })
const session = new Session()
session.connect()
await session.post('Profiler.enable')

for (let round = 0; round < WARM_UP; round++) {
  await send(`warm up ${round}`)
  await send('known')
}
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
await count('hit', () => 'known')
await count('miss', round => `new ${round}`)
await gateway.stop()

async function count(name: string, promptOf: (round: number) => string): Promise<void> {
  await executed()
  const rounds: Set<string>[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await send(promptOf(round))
    rounds.push(await executed())
  }
  const [first = new Set<string>(), ...others] = rounds
  const functions = [...first].filter(each => others.every(round => round.has(each)))
  const files = new Set(functions.map(each => each.split(' ', 1)[0]))
  console.log(`${name}: ${files.size} files, ${functions.length} functions`)
  if (process.argv.includes('--list')) for (const each of functions) console.log(`  ${each}`)
}

/** Takes the functions of src that ran since the last call, as "file function offset". */
async function executed(): Promise<Set<string>> {
  await new Promise(resolve => setTimeout(resolve, SETTLE_MS))
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const functions = result.flatMap(({ url, functions }) => {
    const file = url.split('/.build/src/')[1]
    const ran = functions.filter(({ functionName, ranges }) => functionName !== '' && (ranges[0]?.count ?? 0) > 0)
    return file === undefined
      ? []
      : ran.map(({ functionName, ranges }) => `${file} ${functionName} ${ranges[0]?.startOffset}`)
  })
  return new Set(functions)
}

async function send(prompt: string): Promise<void> {
  const response = await gateway.segment({ prompt })
  await response.arrayBuffer()
  if (response.status !== 200) throw new Error(`${prompt}: ${response.status}`)
}
