import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { GatewayError } from '../contracts/errors.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Block = [Address, number]

/** Decides which hosts images may be fetched from. */
export interface UrlGuard {
  /** Checks the URL itself, including a literal address. Throws `image_url_refused`. */
  checkUrl(url: URL): void
  /** Checks the addresses of a name. Throws `image_url_refused` if one of them is not allowed. */
  checkAddresses(hostname: string, addresses: readonly string[]): void
}

/**
 * Creates the guard from the entries of `IMAGE_URL_HOSTS`: names (`img.example.com`), names with
 * all their subdomains (`.example.com`), addresses and blocks (`10.0.0.5`, `10.1.0.0/16`,
 * `fd00::/8`).
 *
 * - Without entries, every host with a public address is allowed, on ports 80 and 443.
 * - With entries, each address of a host must be in a listed block, or be public and belong to a
 *   listed name. A listed block may be private: listing it opens it, on every port.
 *
 * Throws `TypeError` for any other entry.
 */
export function createUrlGuard(entries: readonly string[]): UrlGuard {
  const invalid = entries.filter(entry => !isHostEntry(entry))
  if (invalid.length > 0) throw new TypeError(`not a host name, address or block: ${invalid.join(', ')}`)
  const blocks = entries.map(parseBlock).filter(block => block !== undefined)
  const names = entries.filter(entry => parseBlock(entry) === undefined).map(canonicalName)

  const isAllowedName = (name: string): boolean => entries.length === 0 || names.some(listed => matches(name, listed))
  const isAllowedAddress = (name: string, address: string): boolean => {
    const parsed = parseAddress(address)
    if (!parsed) return false
    return blocks.some(block => contains(block, parsed)) || (isAllowedName(name) && isPublic(parsed))
  }
  const checkAddresses = (hostname: string, addresses: readonly string[]): void => {
    const name = canonicalName(hostname)
    if (addresses.length > 0 && addresses.every(address => isAllowedAddress(name, address))) return
    throw refused('The host of the image URL has an address that images may not be fetched from.')
  }

  return {
    checkAddresses,
    checkUrl: url => {
      if (url.protocol !== 'http:' && url.protocol !== 'https:')
        throw refused('An image URL must begin with http:// or https://.')
      if (url.username !== '' || url.password !== '')
        throw refused('The image URL contains a user name or password. Remove it.')
      if (entries.length === 0 && !WEB_PORTS.includes(url.port))
        throw refused('The image URL has a port other than 80 and 443.')
      const host = canonicalName(url.hostname)
      if (isIP(host)) return checkAddresses(host, [host])
      if (!isAllowedName(host) && blocks.length === 0)
        throw refused('The host of the image URL is not in the list of allowed hosts.')
    },
  }
}

/** Returns whether `createUrlGuard` accepts an entry. */
export function isHostEntry(entry: string): boolean {
  return parseBlock(entry) !== undefined || (NAME.test(canonicalName(entry)) && !/^[\d.]+$/.test(entry))
}

/**
 * Returns the target of a redirect. Throws `image_url_failed`, or `image_url_refused` for https to
 * http.
 */
export function redirectTarget(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href)) {
    throw new GatewayError('image_url_failed', 'The image URL redirects without a readable Location.')
  }
  const target = new URL(location, from)
  if (from.protocol === 'https:' && target.protocol === 'http:') {
    throw refused('The image URL redirects from https to http.')
  }
  return target
}

export function refused(detail: string): GatewayError {
  return new GatewayError('image_url_refused', detail)
}

const NAME = /^\.?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/

/**
 * Returns a name in lower case, without the brackets of IPv6 and the final dot of a fully qualified
 * name.
 */
function canonicalName(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
}

function matches(name: string, listed: string): boolean {
  return listed.startsWith('.') ? name.endsWith(listed) : name === listed
}

function parseBlock(entry: string): Block | undefined {
  const address = parseAddress(entry)
  if (address) return [address, address.kind() === 'ipv4' ? 32 : 128]
  return ipaddr.isValidCIDR(entry) ? ipaddr.parseCIDR(entry) : undefined
}

/**
 * Parses an address. An IPv4 address mapped into IPv6 becomes IPv4, because a connection to it
 * reaches that address.
 */
function parseAddress(text: string): Address | undefined {
  return isIP(text) && ipaddr.isValid(text) ? ipaddr.process(text) : undefined
}

/**
 * Matches an address. A mapped block (`::ffff:10.0.0.0/104`) contains IPv4 addresses, as
 * `parseAddress` returns them.
 */
function contains([base, bits]: Block, address: Address): boolean {
  if (base.kind() === address.kind()) return address.match(base, bits)
  const isMapped = 'isIPv4MappedAddress' in base && base.isIPv4MappedAddress()
  return isMapped && 'toIPv4MappedAddress' in address && address.toIPv4MappedAddress().match(base, bits)
}

/** Ports as `URL` writes them: empty for the protocol's own. */
const WEB_PORTS: readonly string[] = ['', '80', '443']
const GLOBAL_UNICAST: Block = [ipaddr.parse('2000::'), 3]
/**
 * Blocks that look public but are internal to a cloud: Azure's host services, IBM Cloud's services
 * and endpoints.
 */
const PLATFORMS: readonly Block[] = ['168.63.129.16/32', '161.26.0.0/16', '166.8.0.0/14'].map(block =>
  ipaddr.parseCIDR(block),
)

/**
 * Returns whether an address is public. In IPv6, everything outside 2000::/3 is unassigned or
 * special.
 */
function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast' || PLATFORMS.some(block => contains(block, address))) return false
  return address.kind() === 'ipv4' || contains(GLOBAL_UNICAST, address)
}
