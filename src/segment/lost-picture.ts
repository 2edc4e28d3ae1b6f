import { createHash } from 'node:crypto'
import { GatewayError } from '../contracts/errors.js'
import type { LedgerEntry } from '../contracts/ledger.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import { imageTypeOf } from '../images/image-type.js'
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
 * `upstream_failed` if it is no picture, and the errors of the image check.
 */
export async function keepLostPicture(
  { entry, body, cost, upstreamRequestId }: FoundPicture,
  parts: Pick<PipelineParts, 'results' | 'checkImage' | 'cacheScope'>,
): Promise<void> {
  const { result } = await parts.results.find(entry.resultId, ({ storedAt }) => storedAt >= entry.at)
  if (result && result.storedAt >= entry.at) return
  const type = imageTypeOf([body])
  if (!type) throw new GatewayError('upstream_failed', 'The lost result is not a JPEG, PNG or WebP picture.')
  const digest = createHash('sha256').update(body).digest('hex')
  const { photo: picture } = await parts.checkImage(
    { type, digest, chunks: [body], byteLength: body.length },
    { overlayMask: true },
  )
  const scope = parts.cacheScope === 'team' ? { scope: entry.team } : {}
  const known = { cost, storedAt: entry.at, boughtBy: entry.team, ...scope }
  const answer = {
    body,
    contentType: `image/${type}`,
    size: { width: picture.width, height: picture.height },
    bill: { upstreamRequestId },
  }
  await parts.results.keep(entry.resultId, toResult(answer, known))
}
