import { deflateSync } from 'node:zlib'
import type { Size } from '../../../src/contracts/types.js'
import { PNG_MAGIC, pngChunk } from '../../fixtures/parts.js'

/**
 * Creates a mask of that size as a PNG: the left half is selected. `text` makes it differ from
 * others.
 */
export function fakeMask({ width, height }: Size, text = ''): Buffer {
  const row = Buffer.alloc(1 + width)
  row.fill(255, 1, 1 + Math.ceil(width / 2))
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 8
  return Buffer.concat([
    PNG_MAGIC,
    pngChunk('IHDR', header),
    pngChunk('tEXt', Buffer.from(`Comment\0${text}`)),
    pngChunk('IDAT', deflateSync(Buffer.concat(Array(height).fill(row)))),
    pngChunk('IEND', Buffer.alloc(0)),
  ])
}
