import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import type { MaybePromise } from '../../contracts/maybe-promise.js'

/** Checks a request before its body is read. Throws what refuses it. */
export type RequestCheck = (request: FastifyRequest, reply: FastifyReply) => MaybePromise<unknown>

/** Makes a hook of a check. An async function would cost a few promises for every request. */
export function onRequest(check: RequestCheck): onRequestHookHandler {
  return (request, reply, done) => {
    const checked = check(request, reply)
    return checked instanceof Promise ? checked : done()
  }
}
