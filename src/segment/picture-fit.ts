import { etagOf } from '../contracts/etag.js'
import type { ImageBytes, Params, Photo } from '../contracts/types.js'
import { expectedFrame, frameOfMask, framesOf } from '../images/frame.js'
import { notAMask, otherShape } from '../images/mask-pixels.js'
import { bytesOf, type KeyedRequest } from './keyed-request.js'
import type { PipelineParts, UpstreamOutcome } from './ports.js'

/** A question as it was sent. */
export interface SentQuestion {
  /** Absent where the photo is not known. */
  photo: Photo | undefined
  params: Params
  image: ImageBytes | undefined
}

type FitParts = Pick<PipelineParts, 'orientation' | 'observer'>

/**
 * Compares a paid picture with its photo, by headers alone. Turns a mask of another shape, or the
 * photo in place of a mask, into a failure that was billed. Counts an overlay of another shape,
 * which is still returned.
 */
export function checkFit(
  outcome: UpstreamOutcome,
  { photo, params, image }: SentQuestion,
  { orientation, observer }: FitParts,
): UpstreamOutcome {
  if (outcome.kind === 'failed') return outcome
  const { body, size, bill } = outcome
  const frames = photo && framesOf(photo)
  const frame = frames && size && frameOfMask(size, frames, orientation)
  const expected = frames && expectedFrame(frames, orientation)
  const isOtherShape = expected && size && !frame
  if (expected && size && frame && frame !== expected) observer.orientationContradicted(size, expected)
  if (params.overlayMask) {
    if (isOtherShape) observer.pictureUnfit('overlay', { picture: size, photo: expected })
    return outcome
  }
  const isPhoto = image?.byteLength === body.length && image.digest.startsWith(etagOf(body))
  if (!isOtherShape && !isPhoto) return outcome
  observer.pictureUnfit('mask', { picture: size, photo: expected })
  const error = isOtherShape ? otherShape(size, expected) : notAMask('it is the photo itself')
  return { kind: 'failed', error: error.asBilled('yes'), bill }
}

/** Returns what a request would send. Never throws: what cannot be read is absent. */
export async function questionOf(request: KeyedRequest, parts: PipelineParts): Promise<SentQuestion> {
  const { params } = request
  try {
    const image = await bytesOf(request, parts)
    return { params, image, photo: (await parts.checkImage(image, params)).photo }
  } catch {
    return { params, image: undefined, photo: undefined }
  }
}
