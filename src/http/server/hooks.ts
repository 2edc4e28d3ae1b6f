import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'

/** Checks a request before its body is read. Returns a promise only where it must wait. Throws what refuses it. */
export type RequestCheck = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> | undefined

/** Makes a hook of a check. An async function would cost a few promises for every request. */
export function onRequest(check: RequestCheck): onRequestHookHandler {
  return (request, reply, done) => check(request, reply) ?? done()
}
