import type { Size } from './geometry.js'

/** An image of the user, with its size as displayed: rotated as EXIF says. */
export interface LoadedImage {
  file: Blob
  name: string
  /** A `blob:` URL, valid until it is revoked. */
  url: string
  size: Size
}
