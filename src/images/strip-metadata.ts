import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { ImageBytes, ImageType } from '../contracts/types.js'
import { joinChunks } from './byte-collector.js'
import { exifOf, readExif } from './containers/exif.js'
import { type JpegSegment, readJpeg, SCAN } from './containers/jpeg.js'
import { type PngChunk, readPng } from './containers/png.js'
import { readWebp, type WebpChunk } from './containers/webp.js'

/**
 * Metadata to remove before an image leaves:
 * - `location`: EXIF data with a GPS directory, all XMP and IPTC data, and bytes behind the picture
 * - `all`: everything that does not change how the pixels look
 *
 * The orientation and the colour profile always stay.
 */
export type StripMode = 'location' | 'all'

/**
 * Creates the filter of images that leave. A filtered image has a digest of its own. Returns
 * undefined if nothing is to be removed.
 */
export function createMetadataFilter(mode: StripMode | 'none'): ((image: ImageBytes) => ImageBytes) | undefined {
  if (mode === 'none') return undefined
  return image => {
    const chunks = stripMetadata(image.type, joinChunks(image), mode)
    if (!chunks) return image
    const hash = createHash('sha256')
    for (const chunk of chunks) hash.update(chunk)
    const byteLength = chunks.reduce((sum, { length }) => sum + length, 0)
    return { type: image.type, chunks, byteLength, digest: hash.digest('hex') }
  }
}

/**
 * Removes metadata from a whole image without encoding it again: the coded pixels stay as they are.
 * The parts are slices of `bytes`. Returns undefined if there is nothing to remove.
 */
export function stripMetadata(type: ImageType, bytes: Buffer, mode: StripMode): Buffer[] | undefined {
  return { jpeg: stripJpeg, png: stripPng, webp: stripWebp }[type](bytes, mode)
}

const EXIF = Buffer.from('Exif\0\0', 'latin1')
const APP0 = 0xe0
const APP1 = 0xe1
const APP2 = 0xe2
const APP13 = 0xed
const APP14 = 0xee
const APP15 = 0xef
const COMMENT = 0xfe
const ICC = 'ICC_PROFILE'
/** The index of other pictures behind the first one, which go away too. */
const OTHER_PICTURES = 'MPF'

function stripJpeg(bytes: Buffer, mode: StripMode): Buffer[] | undefined {
  const { segments, end } = readJpeg(bytes)
  const edits = segments.flatMap((segment): Edit[] => {
    const data = bytes.subarray(segment.start + 4, segment.end)
    if (segment.marker !== APP1 || data.indexOf(EXIF) !== 0) return isKept(segment.marker, data, mode) ? [] : [segment]
    const original = data.subarray(EXIF.length)
    const tiff = keptExif(original, mode)
    if (tiff === original) return []
    return [tiff ? { ...segment, replacement: jpegSegment(APP1, Buffer.concat([EXIF, tiff])) } : segment]
  })
  return apply(bytes, [...strayBytes(segments), ...edits].sort(byStart), end)
}

/**
 * Lists the bytes between the segments of the header. Decoders skip them, but without the segments
 * before them the file would not begin as a JPEG.
 */
function strayBytes(segments: readonly JpegSegment[]): Edit[] {
  let from = 2
  const gaps: Edit[] = []
  for (const { marker, start, end } of segments) {
    if (start > from) gaps.push({ start: from, end: start })
    if (marker === SCAN) break
    from = end
  }
  return gaps
}

/** Tells whether a segment stays that is not EXIF data. */
function isKept(marker: number, data: Buffer, mode: StripMode): boolean {
  if (marker === APP1 || marker === APP13) return false
  if (marker === APP2 && startsWith(data, OTHER_PICTURES)) return false
  if (mode === 'location' || marker === APP0 || marker === APP14) return true
  if (marker === APP2) return startsWith(data, ICC)
  return marker !== COMMENT && (marker < APP0 || marker > APP15)
}

function jpegSegment(marker: number, data: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0])
  head.writeUInt16BE(data.length + 2, 2)
  return Buffer.concat([head, data])
}

/** Chunks that change how the pixels look, beside the critical ones. */
const PNG_LOOKS = new Set([
  'tRNS',
  'gAMA',
  'cHRM',
  'sRGB',
  'iCCP',
  'cICP',
  'sBIT',
  'bKGD',
  'pHYs',
  'acTL',
  'fcTL',
  'fdAT',
])
const PNG_TEXTS = new Set(['tEXt', 'zTXt', 'iTXt'])
/** Keywords of texts that contain XMP, EXIF or IPTC data. */
const PNG_PROFILE = /^(?:XML:com\.adobe\.xmp|Raw profile type )/

function stripPng(bytes: Buffer, mode: StripMode): Buffer[] | undefined {
  const { chunks, end } = readPng(bytes)
  const dataOf = ({ start, end }: PngChunk) => bytes.subarray(start + 8, end - 4)
  const edits = chunks.flatMap((chunk): Edit[] => {
    const { type } = chunk
    if (type === 'eXIf') {
      const original = dataOf(chunk)
      const tiff = keptExif(original, mode)
      if (tiff === original) return []
      return [{ ...chunk, ...(tiff && { replacement: pngChunk('eXIf', tiff) }) }]
    }
    const isProfile = PNG_TEXTS.has(type) && PNG_PROFILE.test(dataOf(chunk).toString('latin1', 0, 80))
    const isKept = mode === 'all' ? PNG_LOOKS.has(type) || /^[A-Z]/.test(type) : !isProfile
    return isKept ? [] : [chunk]
  })
  return apply(bytes, edits, end)
}

function pngChunk(type: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(data.length + 12)
  chunk.writeUInt32BE(data.length, 0)
  chunk.write(type, 4, 'latin1')
  data.copy(chunk, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4)
  return chunk
}

const WEBP_PICTURE = new Set(['VP8X', 'VP8 ', 'VP8L', 'ALPH', 'ANIM', 'ANMF', 'ICCP'])
const RIFF_HEADER_BYTES = 12
/** Bits of the first byte of VP8X. */
const VP8X_EXIF = 0x08
const VP8X_XMP = 0x04

function stripWebp(bytes: Buffer, mode: StripMode): Buffer[] | undefined {
  const { chunks, end } = readWebp(bytes)
  const exif = chunks.find(({ type }) => type === 'EXIF')
  const original = exif && webpExif(bytes.subarray(exif.start + 8, exif.end))
  const tiff = original && keptExif(original, mode)
  const isExtra = ({ type }: WebpChunk) =>
    type === 'XMP ' || type === 'EXIF' || (mode === 'all' && !WEBP_PICTURE.has(type))
  const isSame = tiff === original && end === bytes.length && !chunks.some(chunk => chunk !== exif && isExtra(chunk))
  if (isSame) return undefined
  const parts = chunks.flatMap((chunk): Buffer[] => {
    if (chunk === exif && tiff) return [webpChunk('EXIF', tiff)]
    const part = bytes.subarray(chunk.start, chunk.end)
    if (chunk.type === 'VP8X') return [webpHeader(part, tiff !== undefined)]
    return isExtra(chunk) ? [] : [padded(part)]
  })
  const header = Buffer.from(bytes.subarray(0, RIFF_HEADER_BYTES))
  header.writeUInt32LE(
    parts.reduce((sum, { length }) => sum + length, RIFF_HEADER_BYTES - 8),
    4,
  )
  return [header, ...parts]
}

/** Some programs write the prefix of JPEG before the EXIF data. */
function webpExif(data: Buffer): Buffer {
  return data.indexOf(EXIF) === 0 ? data.subarray(EXIF.length) : data
}

function webpHeader(chunk: Buffer, hasExif: boolean): Buffer {
  const header = Buffer.from(chunk)
  header[8] = ((header[8] ?? 0) & ~(VP8X_EXIF | VP8X_XMP)) | (hasExif ? VP8X_EXIF : 0)
  return header
}

function webpChunk(type: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(data.length + 8)
  chunk.write(type, 0, 'latin1')
  chunk.writeUInt32LE(data.length, 4)
  data.copy(chunk, 8)
  return padded(chunk)
}

function padded(chunk: Buffer): Buffer {
  return chunk.length % 2 === 0 ? chunk : Buffer.concat([chunk, Buffer.alloc(1)])
}

/** Returns the EXIF data that stays: all of it, the orientation alone, or none. */
function keptExif(tiff: Buffer, mode: StripMode): Buffer | undefined {
  const { orientation, mayHaveLocation } = readExif(tiff)
  if (mode === 'location' && !mayHaveLocation) return tiff
  if (orientation === 1) return undefined
  const least = exifOf(orientation)
  return least.equals(tiff) ? tiff : least
}

function startsWith(data: Buffer, text: string): boolean {
  return data.toString('latin1', 0, text.length) === text
}

/** A part to remove, or to replace. */
interface Edit {
  start: number
  end: number
  replacement?: Buffer
}

function byStart(one: Edit, other: Edit): number {
  return one.start - other.start
}

/** Returns the bytes up to `end` as slices between the edits; undefined if nothing changes. */
function apply(bytes: Buffer, edits: readonly Edit[], end: number): Buffer[] | undefined {
  if (edits.length === 0 && end === bytes.length) return undefined
  const parts: Buffer[] = []
  let from = 0
  for (const { start, end, replacement } of edits) {
    parts.push(bytes.subarray(from, start))
    if (replacement) parts.push(replacement)
    from = end
  }
  parts.push(bytes.subarray(from, end))
  return parts.filter(({ length }) => length > 0)
}
