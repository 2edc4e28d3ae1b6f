import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

const PORT = /:\d{1,5}$/

/**
 * Who asks, as an address and nothing else: what a trusted proxy forwards may come with a port, which changes with every connection, or may
 * be any text at all. Where it is no address, the connection's own one counts.
 */
export function addressOf(request: FastifyRequest): string {
  const { headers, socket } = request.raw
  dropPorts(headers)
  return addressIn(request.ip ?? '') ?? socket.remoteAddress ?? 'unknown'
}

/** Leaves the addresses of `X-Forwarded-For` alone in it, so that a trusted proxy is known as one whatever its port. */
function dropPorts(headers: IncomingHttpHeaders): void {
  const forwarded = headers['x-forwarded-for']
  if (typeof forwarded !== 'string') return
  headers['x-forwarded-for'] = forwarded
    .split(',')
    .map(entry => addressIn(entry) ?? entry.trim())
    .join(', ')
}

/** `1.2.3.4`, `1.2.3.4:5678`, `::1`, `[::1]`, `[::1]:80`, each without its zone, which means nothing elsewhere and may be of any length. */
function addressIn(text: string): string | undefined {
  const entry = text.trim()
  const withoutPort = entry.startsWith('[') || isIP(entry.replace(PORT, '')) === 4 ? entry.replace(PORT, '') : entry
  const address = withoutPort.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '')
  return isIP(address) ? address : undefined
}
