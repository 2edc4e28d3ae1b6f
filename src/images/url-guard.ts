import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { GatewayError } from '../errors.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Block = [Address, number]

/** Which hosts images may be fetched from. */
export interface UrlGuard {
  /** Checks everything that a URL itself tells, addresses written out included. Throws `image_url_refused`. */
  checkUrl(url: URL): void
  /** Checks the addresses that a name resolved to: every one must pass. Throws `image_url_refused`. */
  checkAddresses(hostname: string, addresses: readonly string[]): void
}

/**
 * Builds the guard from the entries of `IMAGE_URL_HOSTS`: names (`img.example.com`), names with all their subdomains (`.example.com`),
 * addresses and blocks (`10.0.0.5`, `10.1.0.0/16`, `fd00::/8`). Without entries every host with a public address will do, on the ports 80
 * and 443. With entries, the host must bear a listed name and a public address, or have addresses in listed blocks only, which may be private:
 * listing one opens it, on every port.
 * Throws `TypeError` for an entry that is none of these.
 */
export function createUrlGuard(entries: readonly string[]): UrlGuard {
  const wrong = entries.filter(entry => !isHostEntry(entry))
  if (wrong.length > 0) throw new TypeError(`not a host name, address or block: ${wrong.join(', ')}`)
  const blocks = entries.map(parseBlock).filter(block => block !== undefined)
  const names = entries.filter(entry => parseBlock(entry) === undefined).map(canonicalName)

  const mayBear = (name: string): boolean => entries.length === 0 || names.some(listed => matches(name, listed))
  const mayReach = (name: string, address: string): boolean => {
    const parsed = parseAddress(address)
    if (!parsed) return false
    return blocks.some(block => contains(block, parsed)) || (mayBear(name) && isPublic(parsed))
  }
  const checkAddresses = (hostname: string, addresses: readonly string[]): void => {
    const name = canonicalName(hostname)
    if (addresses.length > 0 && addresses.every(address => mayReach(name, address))) return
    throw refused('The host of the image URL has an address that images may not be fetched from.')
  }

  return {
    checkAddresses,
    checkUrl: url => {
      if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused('Only http and https URLs are fetched.')
      if (url.username !== '' || url.password !== '') throw refused('The image URL holds a user name or password.')
      if (entries.length === 0 && !WEB_PORTS.includes(url.port))
        throw refused('The image URL names a port other than 80 and 443.')
      const host = canonicalName(url.hostname)
      if (isIP(host)) return checkAddresses(host, [host])
      if (!mayBear(host) && blocks.length === 0) throw refused('The host of the image URL is not one of those allowed.')
    },
  }
}

/** Whether a text is an entry that `createUrlGuard` takes. */
export function isHostEntry(entry: string): boolean {
  return parseBlock(entry) !== undefined || (NAME.test(canonicalName(entry)) && !/^[\d.]+$/.test(entry))
}

/** Where a redirect leads. Throws `image_url_failed`, and `image_url_refused` where it leaves https for http. */
export function redirectTarget(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href)) {
    throw new GatewayError('image_url_failed', 'The image URL redirects to no readable address.')
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

/** Lower case, without the brackets of an IPv6 address and without the dot that ends a fully qualified name. */
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

/** An IPv4 address inside an IPv6 one is taken for what it reaches. */
function parseAddress(text: string): Address | undefined {
  return isIP(text) && ipaddr.isValid(text) ? ipaddr.process(text) : undefined
}

/** A block written as IPv4 inside IPv6 (`::ffff:10.0.0.0/104`) holds IPv4 addresses, as `parseAddress` has them. */
function contains([base, bits]: Block, address: Address): boolean {
  if (base.kind() === address.kind()) return address.match(base, bits)
  const isMapped = 'isIPv4MappedAddress' in base && base.isIPv4MappedAddress()
  return isMapped && 'toIPv4MappedAddress' in address && address.toIPv4MappedAddress().match(base, bits)
}

/** As `URL` has them: none stands for that of the protocol. */
const WEB_PORTS: readonly string[] = ['', '80', '443']
const GLOBAL_UNICAST: Block = [ipaddr.parse('2000::'), 3]
/** Looks public and is the inside of a cloud: Azure's host services; IBM Cloud's services and service endpoints. */
const PLATFORMS: readonly Block[] = ['168.63.129.16/32', '161.26.0.0/16', '166.8.0.0/14'].map(block =>
  ipaddr.parseCIDR(block),
)

/** Everything outside 2000::/3 is unassigned or special in IPv6, whatever its range is called. */
function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast' || PLATFORMS.some(block => contains(block, address))) return false
  return address.kind() === 'ipv4' || contains(GLOBAL_UNICAST, address)
}
