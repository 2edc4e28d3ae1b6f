const CONVERT = 'Convert it to JPEG, PNG or WebP'
const SEND_BYTES = 'Send the decoded bytes, or the text in a text field; a data: URI needs ;base64 before its comma'

/** First bytes as Latin-1 of files that callers send by mistake, what they are, and what to do. */
const SIGNATURES: readonly [start: string, name: string][] = [
  ['GIF87a', `a GIF. ${CONVERT}`],
  ['GIF89a', `a GIF. ${CONVERT}`],
  ['II*\0', `a TIFF. ${CONVERT}`],
  ['MM\0*', `a TIFF. ${CONVERT}`],
  ['BM', `a BMP. ${CONVERT}`],
  ['\xff\n', `a JPEG XL picture. ${CONVERT}`],
  ['\0\0\0\fJXL ', `a JPEG XL picture. ${CONVERT}`],
  ['\0\0\0\fjP  ', `a JPEG 2000 picture. ${CONVERT}`],
  ['8BPS', `a Photoshop file. ${CONVERT}`],
  ['\0\0\u0001\0', `an icon. ${CONVERT}`],
  ['%PDF', 'a PDF. Send one page as JPEG, PNG or WebP'],
  ['data:image/', `a data: URI instead of its bytes. ${SEND_BYTES}`],
  ['/9j/', `base64 text instead of its bytes. ${SEND_BYTES}`],
  ['iVBORw0KGgo', `base64 text instead of its bytes. ${SEND_BYTES}`],
  ['UklGR', `base64 text instead of its bytes. ${SEND_BYTES}`],
]
const SVG = /^\s*(?:<\?xml[^>]*>\s*)?<svg/i
const HTML = /^\s*<(?:!doctype html|html)/i
const JSON_TEXT = /^\s*[{[]/
/** Brands of ISO base media files that hold a still picture in HEIC. */
const HEIC_BRANDS = new Set(['heic', 'heix', 'heim', 'heis', 'hevc', 'hevm', 'hevx', 'mif1', 'msf1'])
const AVIF = /avi[fs]/

/**
 * Names a file that is no JPEG, PNG or WebP by its first bytes, and says what to do. The text continues
 * "The file is …", without a full stop.
 */
export function otherFormatOf(head: Buffer): string {
  if (head.length === 0) return 'empty'
  const text = head.toString('latin1')
  const known = SIGNATURES.find(([start]) => text.startsWith(start))
  if (known) return known[1]
  if (text.startsWith('ftyp', 4)) return mediaFormatOf(text)
  if (SVG.test(text)) return `an SVG. ${CONVERT}`
  if (HTML.test(text)) return 'an HTML page. Send the picture itself, or its own URL'
  if (JSON_TEXT.test(text)) return 'JSON. Send the picture itself'
  return 'not a JPEG, PNG or WebP: its first bytes match none of these types'
}

/** Reads the brands of an ISO base media file (ISO/IEC 14496-12 §4.3). */
function mediaFormatOf(head: string): string {
  if (AVIF.test(head.slice(8))) return `an AVIF picture. ${CONVERT}`
  if (!HEIC_BRANDS.has(head.slice(8, 12))) return 'a video. Send one picture of it'
  return `a HEIC picture, the usual format of iPhones. ${CONVERT}, or choose "Most Compatible" in the camera settings`
}
