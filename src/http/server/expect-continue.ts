import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Connections } from './connections.js'

/**
 * Sends `100 Continue` after authentication and rate limit, so that a client that waits for it
 * (curl above 1 MB) never sends an upload that is refused. After a refusal Node closes the
 * connection, because the client's next bytes may be the body or another request (RFC 9110
 * §10.1.1).
 */
export function addExpectContinue(app: FastifyInstance, connections: Pick<Connections, 'dispatch'>): void {
  const waiting = new WeakSet<ServerResponse>()
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    waiting.add(response)
    connections.dispatch(request, response, app.routing)
  })
  // Any other expectation is ignored, as RFC 9110 allows. Node's default is a bare 417.
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    connections.dispatch(request, response, app.routing),
  )
  app.addHook('preParsing', (request, reply, _payload, done) => {
    if (!request.is404 && waiting.delete(reply.raw)) reply.raw.writeContinue()
    done()
  })
}
