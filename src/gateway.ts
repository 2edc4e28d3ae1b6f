import type { AddressInfo } from 'node:net'
import { buildApp } from './http/app.js'
import { listenForMetrics } from './http/metrics-listener.js'
import { buildParts, type GatewayOptions, type Parts } from './parts.js'
import { appPartsOf, gaugesOf } from './wiring.js'

export interface Gateway {
  /** Where callers and Prometheus reach it from this machine, without a path: `http://127.0.0.1:8080`. */
  url: string
  metricsUrl: string
  /** Refuses new requests, finishes paid calls (for at most `SHUTDOWN_TIMEOUT_MS`), writes what is left, closes. */
  stop(): Promise<void>
}

/** Starts the gateway and answers once it takes requests. Throws what keeps it from starting; nothing stays open then. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const closers: (() => Promise<unknown> | unknown)[] = []
  const closeAll = async () => {
    for (const close of closers.reverse()) await close()
  }
  try {
    const parts = await buildParts(options, closers)
    parts.metrics.observe(gaugesOf(parts))
    const { host, port, metricsPort } = options.settings.server
    const app = await buildApp(appPartsOf(parts))
    closers.push(() => app.close())
    const metrics = await listenForMetrics({ host, port: metricsPort, expose: () => parts.metrics.expose() })
    closers.push(() => metrics.close())
    await app.listen({ host, port })
    const stop = async () => {
      await drain(parts)
      app.server.closeIdleConnections()
      await closeAll()
    }
    let stopping: Promise<void> | undefined
    return {
      url: localUrl(host, (app.server.address() as AddressInfo).port),
      metricsUrl: localUrl(host, metrics.port),
      stop: () => {
        stopping ??= stop()
        return stopping
      },
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/** Waits for what was begun: paid calls above all, which cost the same whether or not their answer is kept. */
async function drain(parts: Parts): Promise<void> {
  parts.isDraining = true
  const { log, flights, settings } = parts
  if (flights.size > 0) log.info({ paidCalls: flights.size }, 'finishing paid calls')
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>(resolve => {
    timer = setTimeout(resolve, settings.server.shutdownTimeoutMs)
  })
  await Promise.race([flights.idle(), patience])
  clearTimeout(timer)
  if (flights.size > 0)
    log.error(
      { paidCalls: flights.size },
      'gave up waiting for paid calls: their answers are lost, their charge is booked as reserved',
    )
}

function localUrl(host: string, port: number): string {
  const isAny = host === '0.0.0.0' || host === '::'
  const name = isAny ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
