import { get } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import type { Statement } from '../../../src/contracts/statements.js'
import { addStatementsRoutes, type StatementsParts } from '../../../src/http/admin/statements.js'

const LINES = 1_000_000

t.test('a large statement is made as fast as its client reads it', async t => {
  let made = 0
  let ended = () => {}
  const isOver = new Promise<void>(resolve => {
    ended = resolve
  })
  function* csv() {
    try {
      while (made < LINES) yield `${made++} ${'x'.repeat(50)}`
    } finally {
      ended()
    }
  }
  const app = Fastify()
  t.teardown(() => app.close())
  const parts = {
    statement: async () => ({}) as Statement,
    currentMonth: () => '2026-11',
    csv,
  } as never as StatementsParts
  await addStatementsRoutes(app, parts, async () => undefined)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  get({ port, host: '127.0.0.1', path: '/usage?format=csv' }, response => {
    t.match(response.headers, { 'content-type': 'text/csv; charset=utf-8' })
    response.once('data', () => response.destroy())
  })
  await isOver
  t.ok(made < LINES, `${made} lines were made for a client that read one slice`)
})
