import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Caller } from '../segment/types.js'

/** What a presented key opens. Takes the same time whatever is wrong with the key. */
export interface Keys {
  authenticate(key: string | undefined, now: number): { caller: Caller } | { refused: 'unauthorized' | 'disabled' }
  isOperator(key: string | undefined): boolean
}

/** Counts a failed attempt of the request's address; answers how long to wait when it has had too many. */
export type CountFailure = (request: FastifyRequest) => Promise<{ retryAfterSeconds: number } | undefined>

type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/** Opens the team door (SPEC §2), before the body is read: throws `unauthorized`, `forbidden`, or `rate_limited` after many failures. */
export function teamDoor(keys: Keys, countFailure: CountFailure, now: () => number): Hook {
  return async request => {
    const outcome = keys.authenticate(presentedKey(request), now())
    if ('caller' in outcome) {
      request.facts.caller = outcome.caller
      return
    }
    if (outcome.refused === 'disabled')
      throw new GatewayError('forbidden', 'This team is disabled; ask the operators of the gateway.')
    throw await unauthorized(request, countFailure)
  }
}

/** Opens the operators' door. A team's key is known here, and refused: `forbidden`. */
export function operatorDoor(keys: Keys, countFailure: CountFailure, now: () => number): Hook {
  return async request => {
    const key = presentedKey(request)
    const outcome = keys.authenticate(key, now())
    if (keys.isOperator(key)) return
    if ('caller' in outcome || outcome.refused === 'disabled') {
      throw new GatewayError('forbidden', "This is an operator's door; a team's key does not open it.")
    }
    throw await unauthorized(request, countFailure)
  }
}

/** `x-api-key: <key>`, or `Authorization: Bearer <key>` (RFC 6750 §2.1). */
function presentedKey(request: FastifyRequest): string | undefined {
  const own = request.headers['x-api-key']
  if (typeof own === 'string' && own !== '') return own.trim()
  return /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '')?.[1]
}

async function unauthorized(request: FastifyRequest, countFailure: CountFailure): Promise<GatewayError> {
  const tooMany = await countFailure(request)
  if (tooMany) return new GatewayError('rate_limited', 'Too many attempts with a wrong key from this address.', tooMany)
  return new GatewayError(
    'unauthorized',
    'The key is missing or not valid. Send it as x-api-key, or as Authorization: Bearer.',
    {
      headers: { 'www-authenticate': 'Bearer realm="segmind-gateway"' },
    },
  )
}
