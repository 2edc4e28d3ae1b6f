import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import { receiveBody } from './receive-body.js'
import { declaredBytes } from './receive-form.js'

/** What an operator asks for is a few fields. */
const MAX_BYTES = 16_384

/** JSON bodies of operators, small ones; other types are refused, and no body at all is an empty one. */
export function addOperatorParsers(admin: FastifyInstance): void {
  const tooLarge = () => new GatewayError('invalid_request', `The body is larger than ${MAX_BYTES} bytes.`)
  admin.addContentTypeParser('application/json', async (request: FastifyRequest, payload: Readable) => {
    const declared = declaredBytes(request)
    if ((declared ?? 0) > MAX_BYTES) throw tooLarge()
    const text = await receiveBody(payload, { declaredBytes: declared, maxBytes: MAX_BYTES, tooLarge })
    return parsed(text.toString('utf8'))
  })
}

function parsed(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('invalid_request', 'The body is not JSON.', { cause })
  }
}

/** The fields of a body. Throws `invalid_request` for one that is no object, or has others than `known`. */
export function bodyFields(request: FastifyRequest, known: readonly string[]): Record<string, unknown> {
  const { body = {} } = request
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new GatewayError('invalid_request', 'The body must be a JSON object.')
  const unknown = Object.keys(body).filter(name => !known.includes(name))
  if (unknown.length === 0) return body as Record<string, unknown>
  const names = unknown.join(', ').slice(0, 60)
  throw new GatewayError('invalid_request', `Unknown field: ${names}. Known are ${known.join(', ')}.`)
}

/** A field that may be absent. Throws `invalid_parameter`. */
export function optionalText(
  fields: Record<string, unknown>,
  name: string,
  { min = 0, max }: { min?: number; max: number },
): string | undefined {
  const value = fields[name]
  if (value === undefined) return undefined
  const isText = typeof value === 'string' && value.length >= min && value.length <= max
  if (isText && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(value)) return value
  throw new GatewayError('invalid_parameter', `${name} takes ${min} to ${max} characters on one line.`)
}

/** Throws `invalid_parameter`. */
export function optionalTruth(fields: Record<string, unknown>, name: string): boolean | undefined {
  const value = fields[name]
  if (value === undefined || typeof value === 'boolean') return value
  throw new GatewayError('invalid_parameter', `${name} takes true or false.`)
}

/** Throws `invalid_parameter`. */
export function optionalNumber(
  fields: Record<string, unknown>,
  name: string,
  { min, max }: { min: number; max: number },
): number | undefined {
  const value = fields[name]
  if (value === undefined) return undefined
  if (typeof value === 'number' && value >= min && value <= max) return value
  throw new GatewayError('invalid_parameter', `${name} takes a number from ${min} to ${max}.`)
}
