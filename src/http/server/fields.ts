import { GatewayError } from '../../contracts/errors.js'

/** Parses one value. Throws `invalid_parameter`. */
export type FieldParser<T> = (value: unknown, name: string) => T

type Parsed<P> = { [Name in keyof P]?: P[Name] extends FieldParser<infer T> ? T : never }

type Parsers = Record<string, FieldParser<unknown>>

/**
 * Parses the optional fields of a JSON body; no body counts as an empty one. Throws
 * `invalid_request` for anything but an object with known fields.
 */
export function parseBody<P extends Parsers>(body: unknown = {}, parsers: P): Parsed<P> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new GatewayError('invalid_request', 'The body must be a JSON object.')
  return parseMembers(body, parsers, 'field')
}

/** Parses the optional parameters of a query. Throws `invalid_request` for an unknown one. */
export function parseQuery<P extends Parsers>(query: unknown, parsers: P): Parsed<P> {
  return parseMembers(Object(query), parsers, 'query parameter')
}

function parseMembers<P extends Parsers>(source: object, parsers: P, kind: 'field' | 'query parameter'): Parsed<P> {
  const unknown = Object.keys(source).filter(name => !Object.hasOwn(parsers, name))
  if (unknown.length > 0) {
    const known = Object.keys(parsers).join(', ')
    const detail = `Unknown ${kind}: ${unknown.join(', ').slice(0, 60)}. Accepted: ${known}.`
    throw new GatewayError('invalid_request', detail)
  }
  const parsed = Object.entries(source).map(([name, value]) => [name, parsers[name]?.(value, name)])
  return Object.fromEntries(parsed) as Parsed<P>
}

/**
 * Creates a parser. `accepts` completes the sentence of its error; `parse` returns undefined for an
 * invalid value.
 */
export function field<T>(accepts: string, parse: (value: unknown) => T | undefined): FieldParser<T> {
  return (value, name) => {
    const parsed = parse(value)
    if (parsed !== undefined) return parsed
    throw new GatewayError('invalid_parameter', `${name} takes ${accepts}.`)
  }
}

/** A text without line breaks, control characters or lone surrogates. */
export const line = (min: number, max: number): FieldParser<string> =>
  field(`${min} to ${max} characters on one line`, value =>
    typeof value === 'string' &&
    value.length >= min &&
    value.length <= max &&
    !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(value)
      ? value
      : undefined,
  )

/** A text of one form. A repeated query parameter is a list, and is refused. */
export const matching = (accepts: string, form: RegExp): FieldParser<string> =>
  field(accepts, value => (typeof value === 'string' && form.test(value) ? value : undefined))

export const flag: FieldParser<boolean> = field('true or false', value =>
  typeof value === 'boolean' ? value : undefined,
)

export const numberFrom = (min: number, max: number): FieldParser<number> =>
  field(`a number from ${min} to ${max}`, value =>
    typeof value === 'number' && value >= min && value <= max ? value : undefined,
  )

/** A whole number as the text of a query parameter. */
export const wholeNumberUpTo = (max: number): FieldParser<number> =>
  field(`one whole number from 1 to ${max}`, value => {
    const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : 0
    return number >= 1 && number <= max ? number : undefined
  })

/** A month, such as `2026-11`. */
export const month = matching('one month as YYYY-MM, such as 2026-11', /^\d{4}-(0[1-9]|1[0-2])$/)

export const teamId = matching('one team id: 1 to 32 characters out of a-z, 0-9 and -', /^[a-z0-9-]{1,32}$/)
