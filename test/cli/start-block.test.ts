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

t.test('the block names the sandbox and puts the key into the commands', async t => {
  const block = startBlock(STARTED)
  t.match(block, 'the built-in SANDBOX')
  t.match(startBlock({ ...STARTED, sandboxUrl: 'http://sandbox:9000' }), 'the SANDBOX at http://sandbox:9000, without')
  t.match(block, 'nothing costs credits')
  t.match(block, "-H 'x-api-key: SG_gwKEY'")
  t.match(block, "-F image=@examples/photos/coffee.jpg -F 'prompt=the cup'")
  t.match(block, "-F 'coordinates=[[300,200]]'")
  t.match(block, 'http://localhost:8080/docs')
  t.match(block, 'http://localhost:9464/metrics')
})

t.test('the block links the pages, and says how to enable the dashboard', t => {
  t.match(startBlock(STARTED), 'http://localhost:8080/   (paste the team key there)')
  t.match(startBlock(STARTED), 'set ADMIN_KEY to enable /dashboard')
  t.match(startBlock({ ...STARTED, hasOperators: true }), 'http://localhost:8080/dashboard')
  t.end()
})

t.test('with a Segmind key it says where cache misses cost credits', async t => {
  t.match(
    startBlock({ ...STARTED, upstreamUrl: 'https://api.segmind.com' }),
    'https://api.segmind.com, with your SEGMIND_API_KEY: cache misses cost credits',
  )
})

t.test('without a valid key the block says how to create one and prints no commands', async t => {
  const block = startBlock({ ...STARTED, key: undefined })
  t.match(block, 'keys create demo')
  t.notMatch(block, 'curl')
})
