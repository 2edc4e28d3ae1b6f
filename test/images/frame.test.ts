import t from 'tap'
import { frameOfMask, frameOfPicture, framesOf } from '../../src/images/frame.js'

const size = (width: number, height: number) => ({ width, height })
const photo = (width: number, height: number, orientation = 1) => ({ width, height, orientation })

t.test('a mask has the shape of its photo, but for one pixel of rounding at its own scale', t => {
  const cases: [[number, number], [number, number], boolean][] = [
    [[100, 20], [100, 20], true],
    [[100, 20], [100, 19], true],
    [[100, 20], [100, 21], true],
    [[100, 20], [99, 20], true],
    [[100, 20], [100, 18], false],
    [[100, 20], [20, 100], false],
    [[100, 20], [50, 10], true],
    [[100, 20], [50, 11], true],
    [[100, 20], [200, 39], true],
    [[100, 20], [200, 38], false],
    [[100, 20], [200, 37], false],
    [[4000, 3000], [1024, 768], true],
    [[4000, 3000], [1024, 767], true],
    [[4000, 3000], [1024, 1024], false],
    [[3000, 1999], [1024, 682], true],
    [[1000, 1005], [1000, 1000], false],
    [[1000, 1001], [1000, 1000], true],
    [[3, 1000], [1, 333], true],
  ]
  for (const [of, is, fits] of cases)
    t.equal(frameOfMask(size(...is), framesOf(photo(...of)), 'applied') !== undefined, fits, `${of} ${is}`)
  t.end()
})

t.test('a picture is in the frame that its shape fits, else in the expected one', t => {
  const turned = photo(100, 20, 6)
  const [seen, stored] = [photo(20, 100, 6), photo(100, 20)]
  t.strictSame(frameOfPicture({ photo: turned, size: size(10, 50) }, 'applied'), seen)
  t.strictSame(frameOfPicture({ photo: turned, size: size(50, 10) }, 'applied'), stored)
  t.strictSame(frameOfPicture({ photo: turned, size: size(50, 50) }, 'ignored'), stored)
  t.strictSame(frameOfPicture({ photo: turned }, 'applied'), seen)
  t.strictSame(frameOfPicture({ photo: photo(9, 9, 3), size: size(9, 9) }, 'applied'), photo(9, 9, 3))
  t.strictSame(frameOfPicture({ photo: photo(9, 9, 3), size: size(9, 9) }, 'ignored'), photo(9, 9))
  t.equal(frameOfPicture({ size: size(9, 9) }, 'applied'), undefined)
  t.end()
})
