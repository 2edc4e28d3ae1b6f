import type { SegmentAnswer } from '../../../client/index.js'
import type { LoadedImage } from '../image/loaded-image.js'
import type { SelectionInput } from '../request/selection.js'

/** A result with its request. */
export interface Result extends SelectionInput {
  image: LoadedImage
  answer: SegmentAnswer
  /** A `blob:` URL of the result, valid until it is revoked. */
  url: string
  elapsedMs: number
  at: Date
}

export const MAX_RESULTS = 30

/** Adds a result in front and drops the oldest beyond the limit. */
export function addResult(history: readonly Result[], result: Result): Result[] {
  return [result, ...history].slice(0, MAX_RESULTS)
}

/** Returns the `blob:` URLs that results use. */
export function urlsOf(results: readonly Result[]): string[] {
  return results.flatMap(({ url, image }) => [url, image.url])
}

/** Returns each URL of `before` that is not in `after`. */
export function unusedUrls(before: readonly string[], after: readonly string[]): string[] {
  return [...new Set(before)].filter(url => !after.includes(url))
}

/** Sums the credits spent on results. */
export function spentOn(history: readonly Result[]): number {
  return history.reduce((sum, { answer }) => sum + answer.cost, 0)
}
