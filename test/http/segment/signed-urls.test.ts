import t from 'tap'
import { StoreError } from '../../../src/contracts/store.js'
import { SignedUrls } from '../../../src/http/segment/signed-urls.js'

const RESULT = 'a'.repeat(64)

function signedUrls({ secret = 'secret', ttlSeconds = 60 } = {}) {
  const clock = { now: 1_000_000 }
  const urls = new SignedUrls({ secret: async () => secret, ttlSeconds, now: () => clock.now })
  const open = (path: string) => {
    const url = new URL(path, 'http://gateway')
    const { expires = '', signature = '' } = Object.fromEntries(url.searchParams)
    return urls.verify({ name: url.pathname.split('/').at(-1) ?? '', expires, signature })
  }
  return { urls, clock, open }
}

t.test('a signed URL opens its result until it expires', async t => {
  const { urls, clock, open } = signedUrls()
  const path = await urls.create({ resultId: RESULT, isTest: false }, 'image/png')
  t.match(path, new RegExp(`^/outputs/${RESULT}\\.png\\?expires=1060&signature=[\\w-]{43}$`))
  t.strictSame(await open(path), { resultId: RESULT, isTest: false, expiresAt: 1_060_000 })
  clock.now = 1_059_999
  t.ok(await open(path))
  clock.now = 1_060_000
  t.notOk(await open(path))
})

t.test('a changed URL is rejected', async t => {
  const { urls, open } = signedUrls()
  const path = await urls.create({ resultId: RESULT, isTest: false }, 'image/jpeg')
  const changed = [
    path.replace('aaaa', 'bbbb'),
    path.replace('1060', '9060'),
    path.replace('.jpg', '-test.jpg'),
    path.replace('.jpg', '.png'),
    path.replace(/signature=./, 'signature=~'),
    path.slice(0, -1),
    path.replace(/&signature.*/, ''),
    path.replace('expires=1060', 'expires=1060.5'),
  ]
  for (const other of changed) t.notOk(await open(other), other)
  const otherGateway = signedUrls({ secret: 'other' })
  t.notOk(await otherGateway.open(path), 'a URL of another gateway')
})

t.test("a URL of a test key's result is marked as such", async t => {
  const { urls, open } = signedUrls()
  t.match(await open(await urls.create({ resultId: RESULT, isTest: true }, 'image/jpeg')), { isTest: true })
})

t.test('without its secret no URL is created or verified', async t => {
  const secret = async () => {
    throw new StoreError('down')
  }
  const urls = new SignedUrls({ secret, ttlSeconds: 1, now: () => 0 })
  await t.rejects(urls.create({ resultId: RESULT, isTest: false }, 'image/jpeg'), { name: 'StoreError' })
  await t.rejects(urls.verify({ name: `${RESULT}.jpg`, expires: '1', signature: 'x' }), { name: 'StoreError' })
})
