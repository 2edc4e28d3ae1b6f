import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'

const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)(.*)$/is
const AUTHORITY = /^(?:[a-z0-9._-]+|\[([0-9a-f:.]+)\])(?::(\d{0,5}))?$/i
const HOST = 'host'
/** Longest name of a host, brackets and port included. */
const MAX_LENGTH = 261

/**
 * Reduces a target in absolute form (`GET http://host/path`) to its path. Its host replaces the
 * Host header (RFC 9112 §3.2.2).
 */
export function toOriginForm(request: IncomingMessage): string {
  const { url = '/', headers } = request
  if (url.startsWith('/')) return url
  const [, authority, rest = ''] = ABSOLUTE_FORM.exec(url) ?? []
  if (authority === undefined) return url
  headers.host = authority
  return rest.startsWith('/') ? rest : `/${rest}`
}

/**
 * Throws `invalid_request` where a request names no host, several hosts or an invalid one (RFC 9112
 * §3.2). HTTP/1.0 needs no Host header.
 */
export function checkHost({ raw }: FastifyRequest): void {
  const received = hostsOf(raw)
  if (received.length === 0 && raw.httpVersion === '1.1') throw invalid('The request has no Host header.')
  if (received.length > 1) throw invalid('The request has more than one Host header.')
  const [named] = received
  const { host } = raw.headers
  if ((host !== undefined && !isAuthority(host)) || (named !== undefined && named !== host && !isAuthority(named)))
    throw invalid('The host of the request is not valid. It must be a name or an IP address, with or without a port.')
}

/** Returns every Host header as received. `headersDistinct` would build an object of all headers. */
function hostsOf({ rawHeaders }: IncomingMessage): string[] {
  const hosts: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length === HOST.length && name.toLowerCase() === HOST) hosts.push(rawHeaders[at + 1] as string)
  }
  return hosts
}

/** Closes the connection: another server on the way may have read the request differently. */
function invalid(detail: string): GatewayError {
  return new GatewayError('invalid_request', detail, { headers: { connection: 'close' } })
}

/**
 * Returns the gateway's origin as the caller addressed it, for URLs in responses. A trusted proxy
 * may forward it. Forwarded values that are not valid are ignored.
 */
export function originOf(request: FastifyRequest): string {
  const { socket, headers } = request.raw
  const protocol = request.protocol.toLowerCase()
  const own = 'encrypted' in socket ? 'https' : 'http'
  const host = [request.host, headers.host ?? ''].find(isAuthority) ?? localHost(socket)
  return `${protocol === 'http' || protocol === 'https' ? protocol : own}://${host}`
}

function localHost({ localAddress = '', localPort }: FastifyRequest['raw']['socket']): string {
  return `${isIPv6(localAddress) ? `[${localAddress}]` : localAddress}:${localPort}`
}

/** Tells if a text is `host` or `host:port`, safe in any URL. */
function isAuthority(text: string): boolean {
  const [whole, ipv6, port = ''] = AUTHORITY.exec(text) ?? []
  return whole !== undefined && text.length <= MAX_LENGTH && Number(port) <= 65_535 && (!ipv6 || isIPv6(ipv6))
}
