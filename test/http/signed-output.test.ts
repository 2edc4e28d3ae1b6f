import t from 'tap'
import { OutputAddresses } from '../../src/http/signed-output.js'
import { StoreError } from '../../src/storage.js'

const RESULT = 'a'.repeat(64)

function addresses({ secret = 'secret', ttlSeconds = 60 } = {}) {
  const clock = { now: 1_000_000 }
  const outputs = new OutputAddresses({ secret: async () => secret, ttlSeconds, now: () => clock.now })
  const open = (path: string) => {
    const url = new URL(path, 'http://gateway')
    const { expires = '', signature = '' } = Object.fromEntries(url.searchParams)
    return outputs.read({ name: url.pathname.split('/').at(-1) ?? '', expires, signature })
  }
  return { outputs, clock, open }
}

t.test('an address opens its result until it is over', async t => {
  const { outputs, clock, open } = addresses()
  const path = await outputs.make({ resultId: RESULT, isTest: false }, 'image/png')
  t.match(path, new RegExp(`^/outputs/${RESULT}\\.png\\?expires=1060&signature=[\\w-]{43}$`))
  t.strictSame(await open(path), { resultId: RESULT, isTest: false, expiresAt: 1_060_000 })
  clock.now = 1_059_999
  t.ok(await open(path))
  clock.now = 1_060_000
  t.notOk(await open(path))
})

t.test('nothing about it can be changed', async t => {
  const { outputs, open } = addresses()
  const path = await outputs.make({ resultId: RESULT, isTest: false }, 'image/jpeg')
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
  const stranger = addresses({ secret: 'other' })
  t.notOk(await stranger.open(path), 'of another gateway')
})

t.test("a test key's results are told apart", async t => {
  const { outputs, open } = addresses()
  t.match(await open(await outputs.make({ resultId: RESULT, isTest: true }, 'image/jpeg')), { isTest: true })
})

t.test('without its secret nothing is made and nothing opens', async t => {
  const secret = async () => {
    throw new StoreError('down')
  }
  const outputs = new OutputAddresses({ secret, ttlSeconds: 1, now: () => 0 })
  await t.rejects(outputs.make({ resultId: RESULT, isTest: false }, 'image/jpeg'), { name: 'StoreError' })
  await t.rejects(outputs.read({ name: `${RESULT}.jpg`, expires: '1', signature: 'x' }), { name: 'StoreError' })
})
