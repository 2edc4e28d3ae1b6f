import t from 'tap'
import { startBlock } from '../../src/cli/start-block.js'

const STARTED = {
  url: 'http://localhost:8080',
  metricsUrl: 'http://localhost:9464',
  upstreamUrl: undefined,
  sandboxUrl: undefined,
  key: 'SG_gwKEY',
  photo: 'examples/photos/coffee.jpg',
  store: 'embedded, in ./data',
  hasOperators: false,
}

t.test('the sandbox is said to be one, and the key stands where it is to be pasted', async t => {
  const block = startBlock(STARTED)
  t.match(block, 'the built-in SANDBOX')
  t.match(startBlock({ ...STARTED, sandboxUrl: 'http://sandbox:9000' }), 'the SANDBOX at http://sandbox:9000, without')
  t.match(block, 'nothing is paid')
  t.match(block, "-H 'x-api-key: SG_gwKEY'")
  t.match(block, "-F image=@examples/photos/coffee.jpg -F 'prompt=the cup'")
  t.match(block, "-F 'coordinates=[[300,200]]'")
  t.match(block, 'http://localhost:8080/docs')
  t.match(block, 'http://localhost:9464/metrics')
})

t.test('the pages are named, and what opens that of the operators', t => {
  t.match(startBlock(STARTED), 'http://localhost:8080/   (paste the team key there)')
  t.match(startBlock(STARTED), 'set ADMIN_KEY to open /dashboard')
  t.match(startBlock({ ...STARTED, hasOperators: true }), 'http://localhost:8080/dashboard')
  t.end()
})

t.test('with a Segmind key it says where misses are paid', async t => {
  t.match(
    startBlock({ ...STARTED, upstreamUrl: 'https://api.segmind.com' }),
    'https://api.segmind.com, with your SEGMIND_API_KEY: misses are paid',
  )
})

t.test('without a key that works it prints no lines that would not, but how to make one', async t => {
  const block = startBlock({ ...STARTED, key: undefined })
  t.match(block, 'keys create demo')
  t.notMatch(block, 'curl')
})
