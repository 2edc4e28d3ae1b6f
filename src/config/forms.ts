import { isIP } from 'node:net'
import { fromCredits, type Nanocredits, parseCredits } from '../contracts/nanocredits.js'
import { Secret } from './secret.js'

/**
 * Text form of a setting: a description, and the parser, which returns `undefined` for text that is
 * not accepted.
 */
export interface Form<T> {
  accepts: string
  read(text: string): T | undefined
}

/**
 * Proxies whose forwarding headers are trusted (Fastify's `trustProxy`): none, all, the last N
 * hops, or these addresses.
 */
export type TrustProxy = boolean | number | string[]

export function wholeNumber(min: number, max: number): Form<number> {
  return {
    accepts: `a whole number from ${min} to ${max}`,
    read: text => (/^\d{1,15}$/.test(text) ? within(Number(text), min, max) : undefined),
  }
}

/** Three months: the waste report of the last month reads the 31 days before it, too. */
const MIN_RETENTION_DAYS = 93

const days = wholeNumber(MIN_RETENTION_DAYS, 36_500)

export const retentionDays: Form<number> = {
  accepts: `0 or ${days.accepts}`,
  read: text => (text === '0' ? 0 : days.read(text)),
}

/** A number of bytes, with or without a unit: `20971520`, `20 MiB`, `256MB`. */
export function bytes(min: number, max: number): Form<number> {
  return {
    accepts: `a number of bytes from ${sizeName(min)} to ${sizeName(max)}, with or without a unit (20971520, 20 MiB, 256 MB)`,
    read: text => {
      const [, digits, unit = 'b'] = /^(\d{1,15}(?:\.\d{1,9})?)\s*(b|[kmgt]i?b)?$/i.exec(text) ?? []
      if (digits === undefined) return undefined
      return within(Math.round(Number(digits) * unitBytes(unit.toLowerCase())), min, max)
    },
  }
}

const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
}

export const flag: Form<boolean> = {
  accepts: 'true or false (also yes/no, on/off, 1/0)',
  read: text => (Object.hasOwn(BOOLEANS, text.toLowerCase()) ? BOOLEANS[text.toLowerCase()] : undefined),
}

export function oneOf<const Choice extends string>(...choices: Choice[]): Form<Choice> {
  return {
    accepts: choices.length === 1 ? `${choices[0]}` : `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`,
    read: text => choices.find(choice => choice === text.toLowerCase()),
  }
}

/** A base URL; trailing slashes are removed. */
export const httpUrl: Form<string> = {
  accepts: 'an http:// or https:// URL without user name, query or fragment',
  read: text => {
    const url = parseUrl(text, ['http:', 'https:'])
    if (!url || url.username || url.password || url.search || url.hash) return undefined
    return url.href.replace(/\/+$/, '')
  },
}

export const redisUrl: Form<string> = {
  accepts: 'a redis:// or rediss:// URL with a host name',
  read: text => (parseUrl(text, ['redis:', 'rediss:'])?.hostname ? text : undefined),
}

export const credits: Form<Nanocredits> = {
  accepts: 'a decimal number of credits above 0, at most 1000',
  read: text => within(parseCredits(text) ?? Number.NaN, 1, fromCredits(1000)),
}

/** An amount of credits that may be 0. */
export const reserve: Form<Nanocredits> = {
  accepts: 'a decimal number of credits, at most 1000000',
  read: text => within(parseCredits(text) ?? Number.NaN, 0, fromCredits(1_000_000)),
}

/** Webhook for alerts. The whole URL may be a secret, as with Slack. */
export const webhookUrl: Form<string> = {
  accepts: 'an http:// or https:// URL',
  read: text => parseUrl(text, ['http:', 'https:'])?.href,
}

/** A signing secret in the form of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64. */
export const webhookSecret: Form<string> = {
  accepts: 'whsec_ followed by 24 to 64 bytes in base64',
  read: text => {
    const [, base64 = ''] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? []
    return within(Buffer.from(base64, 'base64').length, 24, 64) === undefined ? undefined : text
  },
}

export const timeZone: Form<string> = {
  accepts: 'an IANA time zone name such as UTC or Europe/Berlin',
  read: text => (/^[A-Za-z]/.test(text) && isTimeZone(text) ? text : undefined),
}

/** An address to listen on. */
export const address: Form<string> = {
  accepts: 'an IP address or a host name',
  read: text => (isIP(text) || isHostName(text) ? text : undefined),
}

/**
 * Hosts of image URLs, in lower case: `img.example.com`, `.example.com` (all subdomains), addresses
 * and CIDR blocks.
 */
export const hostList: Form<string[]> = {
  accepts: 'a comma list of host names, .domains, IP addresses and CIDR blocks',
  read: text => list(text.toLowerCase(), item => isHostName(item.replace(/^\./, '')) || isAddressOrBlock(item)),
}

const NAMED_PROXIES = ['loopback', 'linklocal', 'uniquelocal']

export const trustProxy: Form<TrustProxy> = {
  accepts: 'true, false, a number of hops, or a comma list of IP addresses and CIDR blocks',
  read: text => {
    if (/^\d{1,3}$/.test(text)) return Number(text) === 0 ? false : Number(text)
    return flag.read(text) ?? list(text.toLowerCase(), item => NAMED_PROXIES.includes(item) || isAddressOrBlock(item))
  },
}

export const path: Form<string> = {
  accepts: 'a path',
  read: text => (text.includes('\0') ? undefined : text),
}

/** Text that can be sent in an HTTP header. */
export const token: Form<string> = {
  accepts: 'printable ASCII characters without spaces',
  read: text => (/^[\x21-\x7e]+$/.test(text) ? text : undefined),
}

export const anyText: Form<string> = { accepts: 'any text', read: text => text }

/** Wraps the values of a form as `Secret`. */
export function secretly(form: Form<string>): Form<Secret> {
  return {
    accepts: form.accepts,
    read: text => {
      const value = form.read(text)
      return value === undefined ? undefined : new Secret(value)
    },
  }
}

function within(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined
}

const UNITS = ['', 'k', 'm', 'g', 't']

function unitBytes(unit: string): number {
  const isBinary = unit.includes('i')
  return (isBinary ? 1024 : 1000) ** UNITS.indexOf(unit.replace(/i?b$/, ''))
}

function sizeName(size: number): string {
  const power = [4, 3, 2, 1].find(power => size >= 1024 ** power && size % 1024 ** power === 0)
  return power === undefined ? `${size}` : `${size / 1024 ** power} ${'KMGT'[power - 1]}iB`
}

function parseUrl(text: string, protocols: string[]): URL | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  return protocols.includes(url.protocol) ? url : undefined
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

function list(text: string, isItem: (item: string) => boolean): string[] | undefined {
  const items = text.split(',').map(item => item.trim())
  return items.every(isItem) ? items : undefined
}

/** Follows RFC 1123 §2.1. Rejects a last label of digits only, which is a mistyped address. */
function isHostName(text: string): boolean {
  const labels = text.split('.')
  const areLabels = labels.every(label => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(label))
  return areLabels && text.length <= 253 && !/^\d+$/.test(labels.at(-1) ?? '')
}

function isAddressOrBlock(text: string): boolean {
  const [base = '', prefix, ...rest] = text.split('/')
  const version = isIP(base)
  if (version === 0 || rest.length > 0) return false
  if (prefix === undefined) return true
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128)
}
