import type { Frame, Photo, Size } from '../contracts/types.js'

/**
 * `IMAGE_ORIENTATION`. `applied`: Segmind turns a photo by its EXIF orientation. `ignored`: it does
 * not.
 */
export type OrientationRule = 'applied' | 'ignored'

/** Largest deviation of a side of a mask that rounding explains. */
const ROUNDING_PIXELS = 1

/** The frame of the stored pixels, and that of the photo as viewers show it. */
export interface Frames {
  stored: Frame
  seen: Frame
}

/** Returns the frames of an image. Orientations 5 to 8 swap the sides. */
export function framesOf({ width, height, orientation }: Photo): Frames {
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
  if (!hasShapeOf(expected, mask)) return hasShapeOf(other, mask) ? other : undefined
  // The mask of a nearly square photo fits both frames: take the closer one.
  return hasShapeOf(other, mask) && mismatch(mask, other) < mismatch(mask, expected) ? other : expected
}

/**
 * Returns the frame of the photo that a picture of it is in: by its shape where it fits, else the
 * expected one. Undefined where the photo is not known.
 */
export function frameOfPicture(
  { size, photo }: { size?: Size; photo?: Photo },
  rule: OrientationRule,
): Frame | undefined {
  if (!photo) return undefined
  const frames = framesOf(photo)
  return (size && frameOfMask(size, frames, rule)) ?? expectedFrame(frames, rule)
}

/** Returns whether a picture has the aspect ratio of a frame, but for rounding at its own scale. */
export function hasShapeOf(frame: Size, picture: Size): boolean {
  const height = (picture.width * frame.height) / frame.width
  const width = (picture.height * frame.width) / frame.height
  return Math.min(Math.abs(picture.height - height), Math.abs(picture.width - width)) <= ROUNDING_PIXELS
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
