import type { Frame, Size } from '../contracts/types.js'

/** `IMAGE_ORIENTATION`. `applied`: Segmind turns a photo by its EXIF orientation. `ignored`: it does not. */
export type OrientationRule = 'applied' | 'ignored'

/** Largest relative difference of two aspect ratios that count as equal. */
const ASPECT_TOLERANCE = 0.01

/** The frame of the stored pixels, and that of the photo as viewers show it. */
export interface Frames {
  stored: Frame
  seen: Frame
}

/** Returns the frames of an image. `orientation` is 1 to 8, as in EXIF; 5 to 8 swap the sides. */
export function framesOf({ width, height }: Size, orientation: number): Frames {
  const stored = { width, height, orientation: 1 }
  const seen = orientation >= 5 ? { width: height, height: width } : { width, height }
  return { stored, seen: { ...seen, orientation } }
}

/** Returns the frame in which points, masks, outlines and cutouts are expected. */
export function expectedFrame({ stored, seen }: Frames, rule: OrientationRule): Frame {
  return rule === 'applied' ? seen : stored
}

/**
 * Returns the frame that a mask is in. Where its shape fits both frames, the rule decides; else the
 * shape does. Undefined if it fits neither.
 */
export function frameOfMask(mask: Size, frames: Frames, rule: OrientationRule): Frame | undefined {
  const expected = expectedFrame(frames, rule)
  const other = rule === 'applied' ? frames.stored : frames.seen
  const [asExpected, asOther] = [mismatch(mask, expected), mismatch(mask, other)]
  // The mask of a nearly square photo fits both frames: take the closer one.
  if (Math.min(asExpected, asOther) > ASPECT_TOLERANCE) return undefined
  return asOther < asExpected ? other : expected
}

/**
 * Returns the relative difference of the aspect ratios, or −1 for equal sizes, which always match
 * best.
 */
function mismatch(one: Size, other: Size): number {
  if (isSameSize(one, other)) return -1
  return Math.abs((one.width * other.height) / (one.height * other.width) - 1)
}

export function isSameSize(one: Size, other: Size): boolean {
  return one.width === other.width && one.height === other.height
}
