import t from 'tap'
import { createPartCounter } from '../../src/input/multipart.js'

const TYPE = 'multipart/form-data; boundary=XX'

function counted(body: string, contentType: string | undefined = TYPE, pieceBytes = body.length): number {
  const count = createPartCounter(contentType)
  for (let at = 0; at < body.length; at += pieceBytes) count.add(Buffer.from(body.slice(at, at + pieceBytes), 'latin1'))
  return count.parts
}

t.test('parts are counted up to the closing delimiter, in chunks of any size', async t => {
  const cases: [string, number][] = [
    ['', 0],
    ['--XX--\r\n', 0],
    ['--XX\r\na: b\r\n\r\nx\r\n--XX--\r\n', 1],
    ['\r\n--XX\r\n\r\nx\r\n--XX\r\n\r\ny\r\n--XX--', 2],
    ['preamble\r\n--XX\r\n\r\nx\r\n--XX--\r\n--XX\r\n\r\nepilogue', 1],
    ['--XX\r\n\r\nx --XX \n--XX\r--XX\r\n--X\r\n-XX\r\n--XX--', 1],
    ['--XX\r\n\r\n\r\n\r\n--XX\r\n\r\n\r\n\r\n\r\n--XX--', 2],
    ['--XX\r\n--XX\r\n--XX--', 2],
    ['--XX\r\n\r\nx\r\n--XX-\r\n\r\ny\r\n--XX--', 2],
  ]
  for (const [body, parts] of cases) {
    for (let pieceBytes = 1; pieceBytes <= body.length; pieceBytes++) {
      t.equal(counted(body, TYPE, pieceBytes), parts, `${JSON.stringify(body)} by ${pieceBytes}`)
    }
  }
})

t.test('the boundary is taken from the content type, quoted or not', async t => {
  const body = '--a b\r\n\r\nx\r\n--a b--'
  t.equal(counted(body, 'multipart/form-data; charset=utf-8; boundary="a b"'), 1)
  t.equal(counted('--a=b\r\n\r\nx\r\n--a=b--', 'Multipart/Form-Data;Boundary=a=b; x=y'), 1)
  t.equal(counted(body, 'multipart/form-data'), 0)
  t.equal(createPartCounter(undefined).parts, 0)
})
