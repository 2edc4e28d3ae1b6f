import { GatewayError } from '../contracts/errors.js'
import type { LedgerEntry } from '../contracts/ledger.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import { pictureOf } from '../images/containers/structure.js'
import type { PipelineParts } from './ports.js'
import { toResult } from './purchase.js'

/** A paid picture whose response never arrived. */
export interface FoundPicture {
  entry: LedgerEntry
  body: Buffer
  cost: Nanocredits
  upstreamRequestId: string
}

/**
 * Keeps a lost picture as the result of its call, unless the result was bought again since. Throws
 * `upstream_failed` if it is no whole picture.
 */
export async function keepLostPicture(
  { entry, body, cost, upstreamRequestId }: FoundPicture,
  parts: Pick<PipelineParts, 'results' | 'cacheScope'>,
): Promise<void> {
  const { result } = await parts.results.find(entry.resultId, ({ storedAt }) => storedAt >= entry.at)
  if (result && result.storedAt >= entry.at) return
  const picture = pictureOf(body)
  if (!picture) throw new GatewayError('upstream_failed', 'The lost result is no whole JPEG, PNG or WebP picture.')
  const scope = parts.cacheScope === 'team' ? { scope: entry.team } : {}
  const known = { cost, storedAt: entry.at, boughtBy: entry.team, ...scope }
  const answer = {
    body,
    contentType: `image/${picture.type}`,
    size: picture.size,
    bill: { upstreamRequestId },
  }
  await parts.results.keep(entry.resultId, toResult(answer, known))
}
