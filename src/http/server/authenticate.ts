import type { FastifyRequest } from 'fastify'
import type { Clock } from '../../contracts/clock.js'
import { GatewayError } from '../../contracts/errors.js'
import type { Authenticated } from '../../contracts/keys.js'

/** Checks keys. Takes the same time whatever is wrong with a key. */
export interface Keys {
  authenticate(key: string | undefined, now: number): Authenticated
  isOperator(key: string | undefined): boolean
}

/**
 * Counts a failed authentication by client address. Resolves with the wait after too many of them.
 */
export type CountFailure = (request: FastifyRequest) => Promise<{ retryAfterSeconds: number } | undefined>

export interface AuthenticationParts {
  keys: Keys
  countFailure: CountFailure
  now: Clock
}

/** Returns a promise where the request is refused, because its failure is counted. */
type Authenticate = (request: FastifyRequest) => Promise<never> | undefined

/**
 * Creates the check of team keys (docs/reference.md, Access). It runs before the body is read and
 * throws `unauthorized`, `forbidden`, or `rate_limited` after many failures.
 */
export function createTeamAuthentication({ keys, countFailure, now }: AuthenticationParts): Authenticate {
  return request => {
    const outcome = keys.authenticate(presentedKey(request), now())
    if ('caller' in outcome) {
      request.facts.caller = outcome.caller
      return undefined
    }
    if (outcome.refused === 'disabled')
      throw new GatewayError('forbidden', 'This team is disabled. Ask the operators of the gateway.')
    return refuse(request, countFailure)
  }
}

/** Creates the check of the operators' key. A team key gets `forbidden`. */
export function createOperatorAuthentication({ keys, countFailure, now }: AuthenticationParts): Authenticate {
  return request => {
    const key = presentedKey(request)
    const outcome = keys.authenticate(key, now())
    if (keys.isOperator(key)) return undefined
    if ('caller' in outcome || outcome.refused === 'disabled')
      throw new GatewayError('forbidden', "This route requires the operators' key; a team key is not accepted.")
    return refuse(request, countFailure)
  }
}

/** Reads `x-api-key: <key>` or `Authorization: Bearer <key>` (RFC 6750 §2.1). */
function presentedKey({ headers }: FastifyRequest): string | undefined {
  const key = headers['x-api-key']
  if (typeof key === 'string' && key !== '') return key.trim()
  return /^Bearer +([^\s]+) *$/i.exec(headers.authorization ?? '')?.[1]
}

async function refuse(request: FastifyRequest, countFailure: CountFailure): Promise<never> {
  const tooMany = await countFailure(request)
  if (tooMany) throw new GatewayError('rate_limited', 'Too many wrong keys from this address.', tooMany)
  const detail = 'The key is missing or invalid. Send it as x-api-key, or as Authorization: Bearer.'
  throw new GatewayError('unauthorized', detail, {
    headers: { 'www-authenticate': 'Bearer realm="segmind-gateway"' },
  })
}
