import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

const PORT = /:\d{1,5}$/

/**
 * Returns the client's IP address. A trusted proxy may forward an address with a port, which
 * changes with every connection, or any other text. Where it forwards no address, the connection's
 * own address is used.
 */
export function clientAddress(request: FastifyRequest): string {
  const { headers, socket } = request.raw
  const forwarded = headers['x-forwarded-for']
  if (typeof forwarded === 'string') headers['x-forwarded-for'] = withoutPorts(forwarded)
  const own = socket.remoteAddress
  if (forwarded === undefined && own !== undefined) return withoutZone(own)
  return parseAddress(request.ip ?? '') ?? own ?? 'unknown'
}

/**
 * Removes ports from `X-Forwarded-For`, so that Fastify recognises trusted proxies whatever their
 * port.
 */
function withoutPorts(forwarded: string): string {
  return forwarded
    .split(',')
    .map(entry => parseAddress(entry) ?? entry.trim())
    .join(', ')
}

/**
 * Reads `1.2.3.4`, `1.2.3.4:5678`, `::1`, `[::1]` and `[::1]:80`. Drops an IPv6 zone: it has no
 * meaning on another machine, and no maximum length.
 */
function parseAddress(text: string): string | undefined {
  const entry = text.trim()
  const withoutPort = entry.startsWith('[') || isIP(entry.replace(PORT, '')) === 4 ? entry.replace(PORT, '') : entry
  const address = withoutZone(withoutPort.replace(/^\[(.*)\]$/, '$1'))
  return isIP(address) ? address : undefined
}

function withoutZone(address: string): string {
  const zone = address.indexOf('%')
  return zone < 0 ? address : address.slice(0, zone)
}
