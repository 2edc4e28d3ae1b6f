import { GatewayError } from '../contracts/errors.js'
import type { Point } from '../contracts/types.js'
import { describeValue } from './describe.js'

const MAX_POINTS = 100
/**
 * Fits a hundred points with numbers at their longest, and blanks. Bounded because parsing
 * megabytes of text takes seconds.
 */
const MAX_CHARACTERS = 64 * 1024
const ACCEPTED = `takes [x,y] or [[x,y],…] with finite numbers ≥ 0, at most ${MAX_POINTS} points`

/**
 * Parses `coordinates` or `remove_coordinates`: a list, or JSON text of one. A flat `[x,y]` is one
 * point. Returns undefined for blank text and an empty list. Throws `invalid_parameter`.
 */
export function parsePoints(field: string, value: unknown): readonly Point[] | undefined {
  const list = typeof value === 'string' ? parseText(field, value) : value
  if (list === undefined) return undefined
  if (!Array.isArray(list)) throw invalidPoints(field, `it was ${describeValue(value)}`)
  if (list.length === 0) return undefined
  const isFlat = list.every(item => !Array.isArray(item))
  const pairs: unknown[] = isFlat ? [list] : list
  if (pairs.length > MAX_POINTS) throw invalidPoints(field, `there were ${pairs.length} points`)
  return pairs.map((pair, index) => parsePoint(field, pair, isFlat ? undefined : index + 1))
}

function parseText(field: string, text: string): unknown {
  if (text.length > MAX_CHARACTERS) throw invalidPoints(field, `it was longer than ${MAX_CHARACTERS} characters`)
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw invalidPoints(field, `it was ${describeValue(text)}`)
  }
}

function parsePoint(field: string, pair: unknown, position: number | undefined): Point {
  if (Array.isArray(pair) && pair.length === 2) {
    const [x, y] = pair as unknown[]
    // Adding 0 turns −0 into 0: the same place must have the same cache key.
    if (isCoordinate(x) && isCoordinate(y)) return [x + 0, y + 0]
  }
  throw invalidPoints(field, `${position === undefined ? 'it' : `point ${position}`} was ${describeValue(pair)}`)
}

function isCoordinate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function invalidPoints(field: string, was: string): GatewayError {
  return new GatewayError('invalid_parameter', `${field} ${ACCEPTED}; ${was}.`)
}
