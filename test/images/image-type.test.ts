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
    message: /^The file is not/,
  })
})
