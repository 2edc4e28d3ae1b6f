import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Secret } from '../../src/config/index.js'
import { type Nanocredits, parseCredits } from '../../src/contracts/nanocredits.js'
import type { LedgerEntry, Store } from '../../src/contracts/store.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import { openStore } from '../../src/store/open-store.js'
import { otherJpeg } from '../fixtures/jpeg.js'
import { type FakeSegmind, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { entriesOf } from '../support/entries-of.js'
import { eventually } from '../support/eventually.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { startRedis } from '../support/programs/redis-server.js'

type Window = 'daily' | 'monthly'

/** Initial estimate in nanocredits, and the number of calls of that cost that fit a budget. */
const ESTIMATE = 2_000_000
const TEAMS: Readonly<
  Record<string, { budget?: Partial<Record<Window, Nanocredits>>; fits: number; window?: Window }>
> = {
  few: { budget: { daily: 7_000_000 }, fits: 3, window: 'daily' },
  day: { budget: { daily: 40_000_000 }, fits: 20, window: 'daily' },
  month: { budget: { monthly: 29_999_999 }, fits: 14, window: 'monthly' },
  'month-first': { budget: { daily: 60_000_000, monthly: 30_000_000 }, fits: 15, window: 'monthly' },
  'day-first': { budget: { daily: 20_100_000, monthly: 900_000_000 }, fits: 10, window: 'daily' },
  nothing: { budget: { daily: 1_000_000 }, fits: 0, window: 'daily' },
  free: { fits: Number.POSITIVE_INFINITY },
}
const NAMES = Object.keys(TEAMS)
/** Concurrent requests of each team; sent twice. */
const REQUESTS = 24
/**
 * Costs of the calls in turn, rising slowly: below and above the estimate, none below the smallest
 * budget.
 */
const COSTS = [1_234_567, 2_345_679, 1_999_999, 2_600_001, 1_000_001, 3_100_003, 1_700_000]
const START: Nanocredits = 10_000_000_000

/** A time zone in which it is about noon, so that no window ends during the test. */
const TIME_ZONE = new Date().getUTCHours() < 12 ? 'Asia/Tokyo' : 'Pacific/Pitcairn'
const calendar = createBudgetCalendar(TIME_ZONE)

interface Answer {
  team: string
  status: number
  cost: Nanocredits
  requestId: string
  retryAfter: number
  problem: Record<string, unknown>
  requestedAt: number
  answeredAt: number
}

interface Bill {
  team: string
  cost: Nanocredits
  remaining: Nanocredits
}

for (const kind of ['redis', 'embedded'] as const) {
  t.test(`budgets of many teams over 3 processes at once (${kind} store)`, async t => {
    const { ask, askAll, upstream, bills, ledger } = await startWorld(t, kind)
    const refusedAtFirst = NAMES.map(name => Math.max(0, REQUESTS - fitsOf(name))).reduce((sum, count) => sum + count)
    const answers: Answer[] = []

    await t.test('calls in flight are limited to what the budget can reserve', async t => {
      const held = upstream.hold()
      const refused = counter(refusedAtFirst)
      const pending = askAll(answer => answer.status !== 200 && refused.count())
      await refused.reached
      const admitted = NAMES.length * REQUESTS - refusedAtFirst
      // The last refusal may arrive before the last reservation is made.
      const before = await eventually('an admitted call was never reserved', async () => {
        const totals = await ledger.totals()
        return totals.reservedCalls >= admitted && totals
      })
      held.open()
      t.match(before, { reserved: admitted * ESTIMATE, reservedCalls: admitted, spent: 0 })
      answers.push(...(await pending))
      for (const name of NAMES) {
        const paid = answers.filter(({ team, status }) => team === name && status === 200)
        t.equal(paid.length, Math.min(REQUESTS, fitsOf(name)), name)
      }
    })

    await t.test('the difference between estimate and cost is released, at any concurrency', async () => {
      answers.push(...(await askAll()))
    })

    await t.test('a team within its budget gets a call, a team without room does not', async t => {
      const budgeted = NAMES.filter(name => TEAMS[name]?.budget)
      const last = await Promise.all(budgeted.map(name => untilRefused(t, name, { ask, ledger, answers })))
      answers.push(...last.flat())
      const highestCost = Math.max(ESTIMATE, ...bills.map(({ cost }) => cost))
      for (const name of budgeted) {
        const room = limitOf(name) - costOf(answers, name)
        t.ok(room < highestCost, `${name} was refused with ${room} left`)
        const paid = answers.filter(({ team, status }) => team === name && status === 200)
        t.ok(paid.length >= Math.floor(limitOf(name) / highestCost), `${name} had ${paid.length} calls`)
      }
    })

    await t.test(
      'a refusal names the budget and the end of its window; teams without a budget are not refused',
      async t => {
        const refused = answers.filter(({ status }) => status !== 200)
        t.ok(refused.length > refusedAtFirst)
        for (const answer of refused) checkRefusal(t, answer)
      },
    )

    await t.test('no budget is exceeded by more than costs above the estimates', async t => {
      const entries = await entriesOf(ledger, today().day)
      t.same(new Set(entries.map(({ state }) => state)), new Set(['charged']))
      for (const name of NAMES) {
        const own = entries.filter(({ team }) => team === name)
        const spent = own.reduce((sum, { settled }) => sum + (settled?.cost ?? Number.NaN), 0)
        const beyond = own.reduce((sum, entry) => sum + Math.max(0, (entry.settled?.cost ?? 0) - entry.estimate), 0)
        t.ok(
          spent <= limitOf(name) + beyond,
          `${name}: ${spent} of ${limitOf(name)}, and ${beyond} beyond the estimates`,
        )
        t.ok(
          own.every(({ estimate }) => estimate > 0),
          'no call has an estimate of 0',
        )
      }
    })

    await t.test("the ledger's totals equal Segmind's bills, per team and overall", async t => {
      const usage = await ledger.usage(today().month)
      for (const name of NAMES) {
        const own = bills.filter(({ team }) => team === name)
        const billed = own.reduce((sum, { cost }) => sum + cost, 0)
        const { charged, paidCalls } = usage.find(({ team }) => team === name) ?? { charged: 0, paidCalls: 0 }
        t.same({ charged, paidCalls }, { charged: billed, paidCalls: own.length }, name)
        t.same(await ledger.booked(name, today()), { daily: billed, monthly: billed }, name)
        t.equal(costOf(answers, name), billed, `the responses report the amount billed to ${name}`)
      }
      t.match(await ledger.totals(), {
        spent: upstream.billed,
        calls: bills.length,
        reserved: 0,
        reservedCalls: 0,
        estimatedCalls: 0,
      })
      t.equal(upstream.billed, START - upstream.remaining)
      t.equal(bills.at(-1)?.remaining, upstream.remaining)
    })
  })
}

/** Three gateway processes over one store, and a Segmind that records what it bills. */
async function startWorld(t: Test, kind: 'redis' | 'embedded') {
  const dir = await mkdtemp(join(tmpdir(), 'budgets-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const redis = kind === 'redis' ? await startRedis() : undefined
  t.teardown(() => redis?.close())
  const upstream = await startFakeSegmind({ remaining: START })
  t.teardown(() => upstream.close())
  const bills = recordBills(upstream)
  const { file, keys } = await writeTeams(dir)
  const env = {
    DATA_DIR: dir,
    TEAMS_FILE: file,
    SEGMIND_API_KEY: upstream.apiKey,
    SEGMIND_BASE_URL: upstream.url,
    PRICE_ESTIMATE_CREDITS: '0.002',
    BUDGET_TIMEZONE: TIME_ZONE,
    ...(redis ? { REDIS_URL: redis.url } : {}),
  }
  const gateways = await Promise.all([1, 2, 3].map(() => startGatewayProcess(env)))
  t.teardown(() => Promise.all(gateways.map(gateway => gateway.end('SIGKILL'))))
  const image = await otherJpeg(1)
  let requestCount = 0
  const ask = async (team: string): Promise<Answer> => {
    const number = requestCount++
    const { url } = gateways[number % gateways.length] as (typeof gateways)[number]
    const requestedAt = Date.now()
    const answer = await fetch(`${url}/segment`, {
      method: 'POST',
      body: segmentForm({ prompt: `${team} ${number}` }, image),
      headers: { 'x-api-key': keys[team] ?? '' },
    })
    const body = Buffer.from(await answer.arrayBuffer())
    const { status, headers } = answer
    return {
      ...{
        team,
        status,
        cost: parseCredits(headers.get('x-cost') ?? '0') ?? Number.NaN,
        requestedAt,
        answeredAt: Date.now(),
      },
      ...{ requestId: headers.get('x-request-id') ?? '', retryAfter: Number(headers.get('retry-after')) },
      problem: status === 200 ? {} : JSON.parse(body.toString()),
    }
  }
  /** Sends requests of every team at once, the teams in turn, each team to every process. */
  const askAll = (onAnswer: (answer: Answer) => unknown = () => {}): Promise<Answer[]> => {
    const order = Array.from({ length: REQUESTS }, () => NAMES).flat()
    return Promise.all(
      order.map(async name => {
        const answer = await ask(name)
        onAnswer(answer)
        return answer
      }),
    )
  }
  const { ledger } = await openAnother(t, dir, redis?.url)
  return { ask, askAll, upstream, bills, ledger }
}

/** Amounts that Segmind bills, call by call. The prompt names the team. */
function recordBills(upstream: FakeSegmind): Bill[] {
  const bills: Bill[] = []
  upstream.script(({ fields }) => {
    const cost = (COSTS[bills.length % COSTS.length] ?? 0) + bills.length
    const [team = ''] = String(fields.prompt).split(' ')
    bills.push({ team, cost, remaining: (bills.at(-1)?.remaining ?? START) - cost })
    return { cost }
  })
  return bills
}

function writeTeams(dir: string) {
  const fields = NAMES.map(name => {
    const budget = Object.entries(TEAMS[name]?.budget ?? {}).map(([window, amount]) => [window, amount / 1e9])
    return [name, budget.length > 0 ? { budget: Object.fromEntries(budget) } : {}]
  })
  return writeTeamsFile<string>(dir, Object.fromEntries(fields))
}

/** Opens the store of the processes, as another process would. */
async function openAnother(t: Test, dataDir: string, redisUrl: string | undefined): Promise<Store> {
  const { store, spool } = await openStore({
    dataDir,
    maxBytes: 64 * 1024 ** 2,
    ...(redisUrl ? { redisUrl: new Secret(redisUrl) } : {}),
  })
  t.teardown(() => Promise.all([store.close(), spool.close()]))
  return store
}

/**
 * Sends one request after another until one is refused. Checks that the budget had room for each
 * admitted one.
 */
async function untilRefused(
  t: Test,
  name: string,
  world: { ask(team: string): Promise<Answer>; ledger: Store['ledger']; answers: readonly Answer[] },
): Promise<Answer[]> {
  const answers: Answer[] = []
  for (;;) {
    const answer = await world.ask(name)
    answers.push(answer)
    if (answer.status !== 200) return answers
    const entry = (await entriesOf(world.ledger, today().day)).find(isOf(answer))
    const before = costOf([...world.answers, ...answers], name) - answer.cost
    t.ok(before + (entry?.estimate ?? Number.NaN) <= limitOf(name), `${name} had ${limitOf(name) - before} left`)
  }
}

function checkRefusal(t: Test, { team, status, cost, retryAfter, problem, requestedAt, answeredAt }: Answer): void {
  const window = TEAMS[team]?.window
  if (!window) return void t.fail(`${team} was refused: ${JSON.stringify(problem)}`)
  const shortest = calendar.secondsLeft(answeredAt, window)
  const longest = calendar.secondsLeft(requestedAt, window)
  const isNamed =
    status === 429 && problem.code === 'budget_exhausted' && `${problem.detail}`.includes(` ${window} budget `)
  const isFree = problem.billed === 'no' && cost === 0
  const isRight = isNamed && isFree && retryAfter >= shortest && retryAfter <= longest
  t.ok(isRight, `${team}: ${JSON.stringify({ status, retryAfter, shortest, longest, problem })}`)
}

const isOf =
  ({ requestId }: Answer) =>
  (entry: LedgerEntry): boolean =>
    entry.requestId === requestId

const today = () => calendar.windows(Date.now())

const fitsOf = (name: string): number => TEAMS[name]?.fits ?? 0

/** Returns the lower of the two budgets, because all calls are on one day. */
function limitOf(name: string): Nanocredits {
  return Math.min(...Object.values(TEAMS[name]?.budget ?? {}), Number.POSITIVE_INFINITY)
}

function costOf(answers: readonly Answer[], name: string): Nanocredits {
  return answers.filter(({ team }) => team === name).reduce((sum, { cost }) => sum + cost, 0)
}

/** Resolves once that many were counted. */
function counter(wanted: number) {
  let counted = 0
  let reach = () => {}
  const reached = new Promise<void>(resolve => {
    reach = resolve
  })
  const count = () => {
    if (++counted === wanted) reach()
  }
  return { count, reached }
}
