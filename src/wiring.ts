import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { accountMonth } from './credits/account/record.js'
import { timeOfDay } from './credits/account/runway.js'
import { MonthStatements } from './credits/month-statements.js'
import { asCsv } from './credits/statement-rows.js'
import type { AppParts } from './http/app.js'
import type { CreditFacts } from './http/credits-route.js'
import type { Lane } from './http/lane.js'
import { OutputAddresses } from './http/signed-output.js'
import type { Gauges } from './metrics.js'
import { operatorPartsOf, tiersOf } from './overseeing.js'
import type { Parts } from './parts.js'
import { createImageCheck } from './segment/image.js'
import { createPixelKey } from './segment/pixel-key.js'
import { landOrphan } from './segment/purchase.js'
import type { QuoteParts } from './segment/quote.js'
import type { Team } from './segment/types.js'
import { createSharedSecret } from './shared-secret.js'
import type { LedgerEntry } from './storage.js'
import { createOperatorCheck } from './teams/operator-key.js'

/** What the HTTP shell gets to see. */
export function appPartsOf(parts: Parts): AppParts {
  const { settings, accounts, store, teams, testLane } = parts
  const outputs = createOutputs(parts)
  const statements = createStatements(parts)
  const currentMonth = () => accounts.calendar.windows(Date.now()).month
  const isOperator = createOperatorCheck(settings.teams.adminKey?.reveal())
  return {
    log: parts.log,
    trustProxy: settings.server.trustProxy,
    keys: { authenticate: teams.authenticate, isOperator },
    health: {
      isDraining: () => parts.isDraining,
      isStoreUp: store.isUp,
      isTeamsFileOk: teams.isOk,
      breaker: () => parts.client.breaker,
      credits: () => ({
        state: accounts.account.state.current?.name ?? 'unknown',
        balance: accounts.account.balance.state,
      }),
    },
    questions: questionPartsOf(parts, outputs),
    outputs: {
      outputs,
      resultsOf: ({ isTest }) => (isTest ? testLane.pipeline.results : parts.results),
      now: parts.now,
    },
    usage: {
      statement: (month, team) => statements.read(month, team),
      currentMonth,
      remaining: team => accounts.allowance.remaining(team),
    },
    statements: {
      statement: (month, team) => statements.read(month, team),
      currentMonth,
      close: month => statements.close(month, 'operator'),
      reopen: month => statements.reopen(month, 'operator'),
      closings: month => statements.history(month),
      csv: asCsv,
    },
    credits: () => creditFactsOf(parts),
    rateLimitRedis: parts.opened.rateLimitClient,
    now: parts.now,
    explanations: { find: requestId => parts.explanations.find(requestId) },
    onFinished: finishedInto(parts),
    isTraced: parts.tracing !== undefined,
    operators: operatorPartsOf(parts, {
      credits: () => creditFactsOf(parts),
      statement: month => statements.read(month),
    }),
  }
}

/** Every request that is over is counted, and told to whoever keeps or traces it. */
function finishedInto({ metrics, activity, explanations, tracing }: Parts): AppParts['onFinished'] {
  return (finished, story) => {
    metrics.requested(finished)
    activity.requested(finished)
    if (story) explanations.take(story)
    tracing?.finished(finished, story)
  }
}

/** A selection of a batch is none of the requests; what went wrong with it is counted all the same. */
function selectionInto({ metrics, activity, explanations, tracing }: Parts): AppParts['questions']['onSelection'] {
  return (finished, story) => {
    metrics.failed(finished)
    activity.failed(finished)
    if (story) explanations.take(story)
    tracing?.finished(finished, story)
  }
}

/** What every question meets: the account's lane, or that of test keys. */
function questionPartsOf(parts: Parts, outputs: OutputAddresses): AppParts['questions'] {
  const { settings, testLane } = parts
  const lane = liveLane(parts)
  return {
    laneOf: caller => (caller.isTest ? testLane : lane),
    uploads: parts.uploads,
    fetchImage: parts.fetcher.fetchImage,
    maxImageBytes: settings.images.maxBytes,
    base64Default: settings.upload.base64Default,
    allowNoSelection: settings.upload.allowNoSelection,
    batchParallel: settings.segmind.maxConcurrency,
    onSelection: selectionInto(parts),
    jobs: parts.jobs,
    outputs,
    jobPatienceMs: settings.server.clientTimeoutMs + settings.queue.timeoutMs + settings.segmind.timeoutMs,
  }
}

/** Milliseconds that a caller waits for a balance that nobody knows yet. */
const BALANCE_WAIT_MS = 2_000

function liveLane(parts: Parts): Lane {
  const { accounts } = parts
  const remaining = (team: Team) => accounts.allowance.remaining(team)
  return {
    isTest: false,
    pipeline: { ...pipelinePartsOf(parts), maskForms: parts.maskForms, shaping: parts.shaping },
    images: parts.images,
    bodies: parts.bodies,
    prepare: question => question,
    remaining,
    async askRemaining(team) {
      const known = await remaining(team)
      if (known !== undefined) return known
      const waited = sleep(BALANCE_WAIT_MS, undefined, { ref: false })
      await Promise.race([accounts.account.refresh(), waited]).catch(() => undefined)
      return remaining(team)
    },
    creditState: () => accounts.account.state.current?.name,
  }
}

const SECRET_BYTES = 32

function createOutputs({ settings, store, now }: Parts): OutputAddresses {
  const make = () => randomBytes(SECRET_BYTES).toString('base64')
  return new OutputAddresses({
    secret: createSharedSecret(store.records, 'outputs:secret', make),
    ttlSeconds: settings.upload.resultUrlTtlSeconds,
    now,
  })
}

/** The account as operators see it. */
function creditFactsOf({ accounts, settings }: Parts): CreditFacts {
  const { balance, state, price, burn, runway, reconciler } = accounts.account
  const { record } = reconciler
  const { estimate, change } = { estimate: price.current(), change: price.change }
  const current = state.current
  return {
    balance: { state: balance.state, ...balance.latest },
    ...(current && {
      state: { name: current.name, since: current.since, ...(current.before && { before: current.before }) },
    }),
    reserve: settings.credits.reserve,
    burn,
    ...(runway && { runway: { ...runway, timeOfDay: timeOfDay(runway.emptyAt, settings.credits.timeZone) } }),
    ...(record && { agreed: { at: record.anchor.at, drift: record.drift, topUps: record.topUps } }),
    price: { estimate, ...(change && { change }) },
    events: record?.events ?? [],
  }
}

/** Statements that show what this process has counted up to now. */
function createStatements({ settings, accounts, store, now }: Parts): MonthStatements {
  return new MonthStatements({
    async usage(month, team) {
      await accounts.journal.flush()
      return store.ledger.usage(month, team)
    },
    account: month => accountMonth(store.records, month),
    records: store.records,
    policy: settings.credits.chargeback,
    calendar: accounts.calendar,
    now,
  })
}

/** What is read when Prometheus asks. */
export function gaugesOf(parts: Parts): Gauges {
  const { accounts, results, store, teams } = parts
  return {
    teams: () => teams.teams().map(({ id }) => id),
    upstreamInFlight: () => parts.client.inFlight,
    queueDepth: () => parts.turns.depth(),
    cache: () => tiersOf(parts),
    storeUp: () => store.isUp(),
    teamsFileOk: () => teams.isOk(),
    balance: () => accounts.account.balance.latest,
    priceEstimate: () => accounts.account.price.current(),
    drift: () => accounts.account.drift,
    runwaySeconds: () => accounts.account.runway?.seconds,
    creditState: () => accounts.account.state.current?.name,
    burn: () => accounts.account.burn,
    budgets: () => accounts.allowance.budgets(teams.teams()),
    sharedKey: () => parts.sharedKey.state,
    unsavedSteps: () => accounts.unsaved.size,
    unsavedResults: () => ({ results: results.unsaved.size, bytes: results.unsaved.bytes }),
    breakerOpen: () => parts.client.breaker !== 'closed',
  }
}

/** How a job is ended whose process is gone. */
export function createResume(parts: Parts): (entry: LedgerEntry) => Promise<void> {
  const pipeline = pipelinePartsOf(parts)
  return async ({ callId, at, resultId, purchase }) => {
    const call = await parts.accounts.ledger.find(callId, at)
    if (call) await landOrphan({ call, cacheKey: resultId, isKept: purchase !== 'no-store' }, pipeline)
  }
}

function pipelinePartsOf(parts: Parts): QuoteParts {
  const { settings, accounts } = parts
  return {
    results: parts.results,
    images: parts.images,
    flights: parts.flights,
    pursuits: new Map(),
    leases: parts.leases,
    checkImage: createImageCheck({ maxPixels: settings.images.maxPixels }),
    pixelKeyOf: settings.images.pixelDigest ? createPixelKey({ maxPixels: settings.images.maxPixels }) : undefined,
    ledger: accounts.ledger,
    turns: parts.turns,
    upstream: parts.client,
    journal: accounts.journal,
    now: parts.now,
    freshSeconds: settings.cache.ttlSeconds,
    staleSeconds: settings.cache.staleSeconds,
    patienceMs: settings.server.clientTimeoutMs,
    cacheScope: settings.cache.scope,
    coalesce: settings.cache.coalesce,
    estimate: () => accounts.account.price.current(),
    wouldRefuse: team => accounts.ledger.wouldRefuse(team),
    queue: team => parts.turns.outlook(team),
  }
}
