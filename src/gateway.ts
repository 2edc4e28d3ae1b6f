import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type App, buildApp } from './http/app.js'
import { listenForMetrics } from './http/metrics-listener.js'
import { buildParts, type Closers, type GatewayOptions, type Parts } from './parts.js'
import { appPartsOf, createResume, gaugesOf } from './wiring.js'

export interface Gateway {
  /** Where callers and Prometheus reach it from this machine, without a path: `http://127.0.0.1:8080`. */
  url: string
  metricsUrl: string
  /**
   * Refuses new requests, finishes paid calls and writes what waits for the store (for at most `SHUTDOWN_TIMEOUT_MS`), closes.
   * Answers what it gave up on.
   */
  stop(): Promise<Unfinished>
  /** What would be lost if the process ended now. */
  unfinished(): Unfinished
}

/** What was paid for and is not safe: calls under way, answers that no store has, ledger steps that are nowhere but in memory. */
export interface Unfinished {
  calls: { callId: string; team: string; requestId: string; resultId: string }[]
  results: string[]
  ledgerSteps: number
}

export function isNothing({ calls, results, ledgerSteps }: Unfinished): boolean {
  return calls.length === 0 && results.length === 0 && ledgerSteps === 0
}

/** How long one part may take to close before the next one is closed: a store that does not answer, say. */
const CLOSE_TIMEOUT_MS = 3_000

/** Starts the gateway and answers once it takes requests. Throws what keeps it from starting; nothing stays open then. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const closers: Closers = []
  try {
    const parts = await buildParts(options, closers)
    parts.metrics.observe(gaugesOf(parts))
    const { host, port, metricsPort } = options.settings.server
    const app = await buildApp(appPartsOf(parts))
    parts.accounts.startRecovery(createResume(parts))
    closers.push(() => parts.results.unsaved.close())
    closers.push(() => app.close())
    const expose = () => parts.metrics.expose()
    const metrics = await bound('METRICS_PORT', metricsPort, listenForMetrics({ host, port: metricsPort, expose }))
    closers.push(() => metrics.close())
    // Last: from here on there is something to lose.
    await bound('PORT', port, app.listen({ host, port }))
    let stopping: Promise<Unfinished> | undefined
    return {
      url: localUrl(host, (app.server.address() as AddressInfo).port),
      metricsUrl: localUrl(host, metrics.port),
      stop: () => {
        stopping ??= drain(app, parts).finally(() => closeAll(closers))
        return stopping
      },
      unfinished: () => unfinishedOf(parts),
    }
  } catch (error) {
    await closeAll(closers)
    throw error
  }
}

const FLUSH_EVERY_MS = 250
const QUIET_MS = 50

/**
 * Waits for what was begun: paid calls above all, which cost the same whether or not their answer is kept, and answers that wait for the
 * store. New requests are refused meanwhile. Answers what had not ended after `SHUTDOWN_TIMEOUT_MS`.
 */
async function drain(app: App, parts: Parts): Promise<Unfinished> {
  const { log, flights, settings } = parts
  parts.isDraining = true
  const over = after(settings.server.shutdownTimeoutMs)
  if (flights.size > 0) log.info({ paidCalls: flights.size }, 'finishing paid calls')
  await Promise.race([flights.idle(), over.promise])
  // An upload that was under way may still have begun a purchase.
  const rest = app.close().then(() => flights.idle())
  void hangUpWhenQuiet(app, over)
  await Promise.race([rest, over.promise])
  await flush(parts, over)
  over.cancel()
  const unfinished = unfinishedOf(parts)
  if (!isNothing(unfinished))
    log.error(unfinished, 'gave up waiting: the answers of these paid calls are lost, their charge stays booked')
  app.server.closeAllConnections()
  return unfinished
}

/** A connection over which nothing was ever sent counts as busy, and would be waited for until the end. */
async function hangUpWhenQuiet(app: App, over: ReturnType<typeof after>): Promise<void> {
  while (app.requestsUnderWay() > 0 && !over.isOver()) await sleep(QUIET_MS)
  app.server.closeAllConnections()
}

/** Writes what waits for the store, which may be coming back. */
async function flush(parts: Parts, over: ReturnType<typeof after>): Promise<void> {
  const { results, accounts, log } = parts
  if (results.unsaved.size > 0)
    log.info({ results: results.unsaved.size }, 'waiting for the store to take paid answers')
  for (;;) {
    await Promise.race([Promise.all([results.unsaved.flush(), accounts.unsaved.flush()]), over.promise])
    const { results: unsaved, ledgerSteps } = unfinishedOf(parts)
    if (over.isOver() || (unsaved.length === 0 && ledgerSteps === 0)) return
    const pause = after(FLUSH_EVERY_MS)
    await Promise.race([pause.promise, over.promise])
    pause.cancel()
  }
}

function unfinishedOf({ accounts, results }: Parts): Unfinished {
  return {
    calls: accounts.ledger
      .underWay()
      .map(({ callId, team, requestId, resultId }) => ({ callId, team, requestId, resultId })),
    results: results.unsaved.keys,
    ledgerSteps: accounts.unsaved.unsafe,
  }
}

/** Closes in reverse order of opening; a part that fails to close, or takes too long, does not keep the others open. */
async function closeAll(closers: Closers): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) {
    const over = after(CLOSE_TIMEOUT_MS)
    const closed = Promise.resolve()
      .then(close)
      .catch(() => undefined)
    await Promise.race([closed, over.promise])
    over.cancel()
  }
}

/** Says which setting names a port that cannot be had. */
async function bound<T>(setting: string, port: number, listening: Promise<T>): Promise<T> {
  try {
    return await listening
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    const message = `${setting} ${port} is in use already, perhaps by another gateway; set ${setting} to another port`
    throw new Error(message, { cause: error })
  }
}

function after(ms: number): { promise: Promise<void>; isOver(): boolean; cancel(): void } {
  let timer: NodeJS.Timeout | undefined
  let isOver = false
  const promise = new Promise<void>(resolve => {
    timer = setTimeout(() => {
      isOver = true
      resolve()
    }, ms)
  })
  return { promise, isOver: () => isOver, cancel: () => clearTimeout(timer) }
}

function localUrl(host: string, port: number): string {
  const isAny = host === '0.0.0.0' || host === '::'
  const name = isAny ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
