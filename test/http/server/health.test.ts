import { writeFile } from 'node:fs/promises'
import t from 'tap'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

const ready = async (url: string) => {
  const { status, json } = await ask(`${url}/readyz`)
  return { status, ...json() }
}

t.test('readiness reports a store that is down or a refused teams file, and the gateway keeps working', async t => {
  const healthy = await startTestGateway()
  t.teardown(healthy.stop)
  t.match(await ready(healthy.url), { status: 'ready', checks: { store: 'up', teamsFile: 'ok' } })
  await writeFile(healthy.teamsFile, 'teams: nonsense')
  await healthy.logged(line => /teams file refused/.test(line.msg))
  t.match(await ready(healthy.url), { status: 'ready', checks: { store: 'up', teamsFile: 'refused' } })
  t.equal((await healthy.segment()).status, 200, 'the previous teams stay valid')

  const storeless = await startTestGateway({ redisUrl: 'redis://127.0.0.1:1' })
  t.teardown(storeless.stop)
  t.match(await ready(storeless.url), { status: 'ready', checks: { store: 'down', teamsFile: 'ok' } })
  t.equal((await ask(`${storeless.url}/readyz`)).status, 200)
  t.equal((await storeless.segment()).status, 200)
})

t.test('HEAD has the headers of GET without the body, and neither may be cached', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  for (const path of ['/healthz', '/readyz']) {
    const [get, head] = [await ask(gateway.url + path), await ask(gateway.url + path, { method: 'HEAD' })]
    t.equal(head.status, get.status)
    t.equal(head.body.length, 0)
    t.equal(head.headers['content-length'], get.headers['content-length'])
    t.equal(get.headers['cache-control'], 'no-store')
  }
})
