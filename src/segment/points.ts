import { GatewayError } from '../errors.js'
import { describeValue } from './describe.js'
import type { Point } from './types.js'

const MAX_POINTS = 100
/** A hundred points in the longest writing of their numbers, with room for blanks; a parser takes seconds for a text of megabytes. */
const LONGEST_CHARACTERS = 64 * 1024
const ACCEPTED = `takes [x,y] or [[x,y],…] with finite numbers ≥ 0, at most ${MAX_POINTS} points`

/**
 * Reads `coordinates` or `remove_coordinates`: a list, or JSON text that holds one; a flat `[x,y]` is one point.
 * Blank text and an empty list mean that none were given: `undefined`. Throws `invalid_parameter`.
 */
export function parsePoints(field: string, value: unknown): readonly Point[] | undefined {
  const list = typeof value === 'string' ? parseText(field, value) : value
  if (list === undefined) return undefined
  if (!Array.isArray(list)) throw refuse(field, `it was ${describeValue(value)}`)
  if (list.length === 0) return undefined
  const isFlat = list.every(item => !Array.isArray(item))
  const pairs: unknown[] = isFlat ? [list] : list
  if (pairs.length > MAX_POINTS) throw refuse(field, `there were ${pairs.length} points`)
  return pairs.map((pair, index) => parsePoint(field, pair, isFlat ? undefined : index + 1))
}

function parseText(field: string, text: string): unknown {
  if (text.length > LONGEST_CHARACTERS) throw refuse(field, `it was longer than ${LONGEST_CHARACTERS} characters`)
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw refuse(field, `it was ${describeValue(text)}`)
  }
}

function parsePoint(field: string, pair: unknown, position: number | undefined): Point {
  if (Array.isArray(pair) && pair.length === 2) {
    const [x, y] = pair as unknown[]
    // Adding 0 turns −0 into 0: the same place, and so the same cache key.
    if (isCoordinate(x) && isCoordinate(y)) return [x + 0, y + 0]
  }
  throw refuse(field, `${position === undefined ? 'it' : `point ${position}`} was ${describeValue(pair)}`)
}

function isCoordinate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function refuse(field: string, was: string): GatewayError {
  return new GatewayError('invalid_parameter', `${field} ${ACCEPTED}; ${was}.`)
}
