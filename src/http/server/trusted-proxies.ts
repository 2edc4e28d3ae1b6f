import { compile } from '@fastify/proxy-addr'

/** Tells whether to trust the `X-Forwarded-*` headers of the proxy at an address and distance. */
export type IsTrustedProxy = (address: string, hop: number) => boolean

/** Builds the check for `TRUST_PROXY`: none, all, the last N proxies, or addresses and blocks. */
export function trustedProxies(trust: boolean | number | string[]): IsTrustedProxy {
  if (typeof trust === 'boolean') return () => trust
  return typeof trust === 'number' ? (_address, hop) => hop < trust : compile(trust)
}
