import type { AddressInfo } from 'node:net'
import { type App, buildApp } from './http/app.js'
import { listenForMetrics } from './http/metrics-listener.js'
import { buildParts, type Closers, type GatewayOptions, type Parts } from './parts.js'
import { appPartsOf, gaugesOf } from './wiring.js'

export interface Gateway {
  /** Where callers and Prometheus reach it from this machine, without a path: `http://127.0.0.1:8080`. */
  url: string
  metricsUrl: string
  /**
   * Refuses new requests, finishes paid calls (for at most `SHUTDOWN_TIMEOUT_MS`), writes what is left, closes.
   * Answers how many paid calls it gave up on.
   */
  stop(): Promise<number>
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
    closers.push(() => app.close())
    await bound('PORT', port, app.listen({ host, port }))
    const expose = () => parts.metrics.expose()
    const metrics = await bound('METRICS_PORT', metricsPort, listenForMetrics({ host, port: metricsPort, expose }))
    closers.push(() => metrics.close())
    let stopping: Promise<number> | undefined
    return {
      url: localUrl(host, (app.server.address() as AddressInfo).port),
      metricsUrl: localUrl(host, metrics.port),
      stop: () => {
        stopping ??= drain(app, parts).finally(() => closeAll(closers))
        return stopping
      },
    }
  } catch (error) {
    await closeAll(closers)
    throw error
  }
}

/**
 * Waits for what was begun: paid calls above all, which cost the same whether or not their answer is kept. New requests are refused
 * meanwhile. Answers how many paid calls had not ended after `SHUTDOWN_TIMEOUT_MS`.
 */
async function drain(app: App, parts: Parts): Promise<number> {
  const { log, flights, settings } = parts
  parts.isDraining = true
  const over = after(settings.server.shutdownTimeoutMs)
  if (flights.size > 0) log.info({ paidCalls: flights.size }, 'finishing paid calls')
  await Promise.race([flights.idle(), over.promise])
  // An upload that was under way may still have begun a purchase.
  const rest = app.close().then(() => flights.idle())
  await Promise.race([rest, over.promise])
  over.cancel()
  const lost = flights.size
  if (lost > 0)
    log.error(
      { paidCalls: lost },
      'gave up waiting: the answers of these paid calls are lost, their charge stays booked',
    )
  app.server.closeAllConnections()
  return lost
}

/** Closes in reverse order of opening; a part that fails to close, or takes too long, does not keep the others open. */
async function closeAll(closers: Closers): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) {
    const over = after(CLOSE_TIMEOUT_MS)
    const closed = Promise.resolve(close()).catch(() => undefined)
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

function after(ms: number): { promise: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined
  const promise = new Promise<void>(resolve => {
    timer = setTimeout(resolve, ms)
  })
  return { promise, cancel: () => clearTimeout(timer) }
}

function localUrl(host: string, port: number): string {
  const isAny = host === '0.0.0.0' || host === '::'
  const name = isAny ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
