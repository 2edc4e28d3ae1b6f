import { lookup as resolve } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher, request } from 'undici'
import { GatewayError } from '../contracts/errors.js'
import type { ImageBytes } from '../contracts/types.js'
import { ByteCollector } from './byte-collector.js'
import { asImage, imageTooLarge } from './image-type.js'
import { createUrlGuard, redirectTarget, refused, type UrlGuard } from './url-guard.js'

type OnBytes = (count: number) => void

/** Resolves all addresses of a host name. */
type HostLookup = (hostname: string) => Promise<{ address: string; family: number }[]>

export interface ImageFetcherOptions {
  /** `IMAGE_URLS`. If false, every URL is refused. */
  enabled: boolean
  /** `IMAGE_URL_HOSTS`: see `createUrlGuard`. */
  hosts: readonly string[]
  maxImageBytes: number
  /** Timeout of one image as a whole: name resolution, redirects, last byte. */
  timeoutMs: number
  /** Default: the system's resolver. */
  lookup?: HostLookup
}

export interface ImageFetcher {
  /**
   * Fetches an image and hashes it in the same pass. Throws `image_url_refused`,
   * `image_url_failed`, `image_too_large`, `unsupported_image`, and the errors of `onBytes`, which is
   * called before bytes are kept. No error quotes the response.
   */
  fetchImage(url: string, onBytes?: OnBytes): Promise<ImageBytes>
  /** Aborts all fetches. */
  close(): Promise<void>
}

const MAX_REDIRECTS = 5
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]
const HEADERS = {
  accept: 'image/jpeg, image/png, image/webp',
  'accept-encoding': 'identity',
  'user-agent': 'segmind-gateway',
}

/**
 * Creates a fetcher of `http(s)` images. Each request has a connection of its own, without cookies
 * and without a proxy.
 */
export function createImageFetcher(options: ImageFetcherOptions): ImageFetcher {
  const guard = createUrlGuard(options.hosts)
  const dispatcher = new Agent({
    // No connection is reused: each goes to an address that was checked for its request.
    pipelining: 0,
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    connect: { lookup: guardedLookup(guard, options.lookup ?? resolveAll), timeout: options.timeoutMs },
  })

  const send = (url: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
    guard.checkUrl(url)
    return request(url, { dispatcher, signal, headers: HEADERS })
  }
  const follow = async (start: URL, signal: AbortSignal, onBytes?: OnBytes): Promise<ImageBytes> => {
    let url = start
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await send(url, signal)
      if (!REDIRECTS.includes(response.statusCode)) return receiveImage(response, options.maxImageBytes, onBytes)
      discard(response)
      url = redirectTarget(url, onlyValue(response.headers.location))
    }
    throw failed(`redirects more than ${MAX_REDIRECTS} times`)
  }

  return {
    fetchImage: async (text, onBytes) => {
      if (!options.enabled) throw refused('This gateway does not fetch images from URLs. Send the image itself.')
      if (!URL.canParse(text)) throw refused('The image URL is malformed.')
      const signal = AbortSignal.timeout(options.timeoutMs)
      return follow(new URL(text), signal, onBytes).catch(error => {
        throw translate(error, signal, options.timeoutMs)
      })
    },
    close: () => dispatcher.destroy(),
  }
}

/**
 * Resolves a name once, checks every address, and passes the same addresses to the socket. A second
 * lookup could return other addresses than those that were checked. Not called for a URL with a
 * literal address, which `checkUrl` checks.
 */
function guardedLookup(guard: UrlGuard, lookup: HostLookup): LookupFunction {
  return (hostname, options, callback) => {
    const resolveChecked = async (): Promise<{ address: string; family: number }[]> => {
      const addresses = await lookup(hostname)
      guard.checkAddresses(
        hostname,
        addresses.map(({ address }) => address),
      )
      return addresses
    }
    resolveChecked().then(
      addresses => {
        const [first] = addresses
        if (options.all) callback(null, addresses)
        else callback(null, first?.address ?? '', first?.family)
      },
      error => callback(error, ''),
    )
  }
}

function resolveAll(hostname: string): Promise<{ address: string; family: number }[]> {
  return resolve(hostname, { all: true })
}

async function receiveImage(
  response: Dispatcher.ResponseData,
  maxImageBytes: number,
  onBytes?: OnBytes,
): Promise<ImageBytes> {
  try {
    checkResponse(response, maxImageBytes)
  } catch (error) {
    discard(response)
    throw error
  }
  const collector = new ByteCollector()
  // Leaving the loop early destroys the body, and with it the connection.
  for await (const chunk of response.body) {
    onBytes?.(chunk.length)
    collector.add(chunk)
    if (collector.byteLength > maxImageBytes) throw imageTooLarge(maxImageBytes)
  }
  return asImage(collector.finish(), 'The content at the image URL')
}

function checkResponse({ statusCode, headers }: Dispatcher.ResponseData, maxImageBytes: number): void {
  if (statusCode !== 200) throw failed(`returned status ${statusCode} instead of 200`)
  const encoding = onlyValue(headers['content-encoding']) ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') throw failed('returned a body with a Content-Encoding')
  if (Number(headers['content-length']) > maxImageBytes) throw imageTooLarge(maxImageBytes)
}

function onlyValue(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}

function discard({ body }: Dispatcher.ResponseData): void {
  // Without a listener, destroying an unread body causes an uncaught error.
  body.on('error', () => {}).destroy()
}

function translate(error: unknown, signal: AbortSignal, timeoutMs: number): GatewayError {
  if (error instanceof GatewayError) return error
  if (signal.aborted) return failed(`did not return the whole image within ${timeoutMs} ms`, error)
  return failed('could not be fetched: the connection or the response failed', error)
}

function failed(what: string, cause?: unknown): GatewayError {
  return new GatewayError('image_url_failed', `The image URL ${what}.`, { cause })
}
