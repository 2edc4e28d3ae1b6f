import t from 'tap'
import { collectBytes } from '../../src/images/byte-collector.js'
import { asImage, imageTypeOf } from '../../src/images/image-type.js'

const bytes = (latin1: string): Buffer => Buffer.from(latin1, 'latin1')

t.test('the first bytes decide the type of an image', async t => {
  const cases: [string, string | undefined][] = [
    ['\xff\xd8\xff', 'jpeg'],
    ['\xff\xd8\xff\xe0\0\x10JFIF', 'jpeg'],
    ['\x89PNG\r\n\x1a\n', 'png'],
    ['RIFF\x10\0\0\0WEBPVP8 ', 'webp'],
    ['RIFF\x10\0\0\0WEBP', 'webp'],
    ['RIFF\x10\0\0\0WAVE', undefined],
    ['RIFF\x10\0\0\0WEB', undefined],
    ['XRIFF\x10\0\0\0WEBP', undefined],
    ['\x89PNG\n\x1a\n', undefined],
    ['\x89PNG\r\n\x1a', undefined],
    ['\xff\xd8', undefined],
    ['GIF89a', undefined],
    ['', undefined],
  ]
  for (const [head, type] of cases) {
    t.equal(imageTypeOf([bytes(head)]), type, `${JSON.stringify(head)} in one piece`)
    t.equal(imageTypeOf([...head].map(bytes)), type, `${JSON.stringify(head)} byte by byte`)
  }
})

t.test('bytes become an image, or an error whose detail begins with the subject', async t => {
  t.match(asImage(collectBytes(bytes('\xff\xd8\xff')), 'It'), { type: 'jpeg', byteLength: 3 })
  t.throws(() => asImage(collectBytes(bytes('GIF89a')), 'The file'), {
    code: 'unsupported_image',
    message: /^The file is a GIF\. Convert it to JPEG, PNG or WebP\.$/,
  })
})

t.test('a file of another format is named, with what to do', async t => {
  const cases: [string, RegExp][] = [
    ['\0\0\0\x18ftypheic\0\0\0\0mif1heic', /a HEIC picture, the usual format of iPhones\. Convert it to JPEG/],
    ['\0\0\0\x18ftypmif1\0\0\0\0mif1heic', /a HEIC picture/],
    ['\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf', /an AVIF picture/],
    ['\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf', /an AVIF picture\. Convert it/],
    ['\0\0\0\x18ftypisom\0\0\0\0isommp42', /a video/],
    ['II*\0\x08\0\0\0', /a TIFF/],
    ['MM\0*\0\0\0\x08', /a TIFF/],
    ['BM\x36\0\0\0', /a BMP/],
    ['\0\0\0\x0cJXL \r\n\x87\n', /a JPEG XL picture/],
    ['%PDF-1.7', /a PDF/],
    ['<?xml version="1.0"?>\n<svg xmlns="', /an SVG/],
    ['\n<!DOCTYPE html><html>', /an HTML page/],
    ['{"image":"/9j/4AA', /JSON/],
    ['/9j/4AAQSkZJRg', /base64 text instead of its bytes/],
    ['data:image/png;base64,iVBOR', /a data: URI instead of its bytes/],
    ['', /empty/],
    ['\x01\x02\x03 something', /not a JPEG, PNG or WebP/],
  ]
  for (const [head, pattern] of cases)
    t.throws(
      () => asImage(collectBytes(bytes(head)), 'The file'),
      { code: 'unsupported_image', message: pattern },
      head,
    )
})
