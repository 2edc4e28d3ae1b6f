import type { FastifyRequest } from 'fastify'

const PATTERNS = { br: patternOf('br'), gzip: patternOf('gzip') }

/** Tells if a client accepts a content coding by name, with a weight above 0 (RFC 9110 §12.5.3). */
export function acceptsEncoding({ headers }: FastifyRequest, coding: keyof typeof PATTERNS): boolean {
  return PATTERNS[coding].test(headers['accept-encoding'] ?? '')
}

function patternOf(coding: string): RegExp {
  return new RegExp(`(?:^|,)\\s*${coding}\\s*(?:,|$|;\\s*q=(?:1|0?\\.\\d*[1-9]))`, 'i')
}
