import { lookup as resolve } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher, request } from 'undici'
import { GatewayError } from '../errors.js'
import { createByteCollector } from '../segment/byte-collector.js'
import { imageTooLarge } from '../segment/image-source.js'
import { asImage } from '../segment/image-type.js'
import type { ImageBytes } from '../segment/types.js'
import { createUrlGuard, redirectTarget, refused, type UrlGuard } from './url-guard.js'

/** All addresses of a host name. */
export type Lookup = (hostname: string) => Promise<{ address: string; family: number }[]>

export interface ImageFetcherOptions {
  /** `IMAGE_URLS`: without it every URL is refused. */
  enabled: boolean
  /** `IMAGE_URL_HOSTS`: see `createUrlGuard`. */
  hosts: readonly string[]
  maxImageBytes: number
  /** For one image in all: names, redirects, the last byte. */
  timeoutMs: number
  /** Default: the system's resolver. */
  lookup?: Lookup
}

export interface ImageFetcher {
  /**
   * Fetches an image and hashes it in the same pass. Throws `image_url_refused`, `image_url_failed`, `image_too_large`,
   * `unsupported_image`; none of them repeats what the other side answered.
   */
  fetchImage(url: string): Promise<ImageBytes>
  /** Ends what is under way. */
  close(): Promise<void>
}

const MAX_REDIRECTS = 5
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]
const HEADERS = {
  accept: 'image/jpeg, image/png, image/webp',
  'accept-encoding': 'identity',
  'user-agent': 'segmind-gateway',
}

/** Builds the fetcher of `http(s)` images on connections of its own: one for each request, without cookies and without a proxy. */
export function createImageFetcher(options: ImageFetcherOptions): ImageFetcher {
  const guard = createUrlGuard(options.hosts)
  const dispatcher = new Agent({
    // No connection outlives its request: each is made to an address checked for it.
    pipelining: 0,
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    connect: { lookup: guardedLookup(guard, options.lookup ?? resolveAll), timeout: options.timeoutMs },
  })

  const ask = (url: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
    guard.checkUrl(url)
    return request(url, { dispatcher, signal, headers: HEADERS })
  }
  const follow = async (start: URL, signal: AbortSignal): Promise<ImageBytes> => {
    let url = start
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await ask(url, signal)
      if (!REDIRECTS.includes(response.statusCode)) return receiveImage(response, options.maxImageBytes)
      discard(response)
      url = redirectTarget(url, onlyValue(response.headers.location))
    }
    throw failed(`redirects more than ${MAX_REDIRECTS} times`)
  }

  return {
    fetchImage: async text => {
      if (!options.enabled) throw refused('This gateway does not fetch images from URLs; send the image itself.')
      if (!URL.canParse(text)) throw refused('The image URL is malformed.')
      const signal = AbortSignal.timeout(options.timeoutMs)
      return follow(new URL(text), signal).catch(error => {
        throw translate(error, signal, options.timeoutMs)
      })
    },
    close: () => dispatcher.destroy(),
  }
}

/**
 * Resolves a name once, checks every address, and hands the same addresses to the socket: a second answer of the name server, meant for the
 * connection and not for the check, is never asked for. Not called for addresses written out in the URL: `checkUrl` sees those.
 */
function guardedLookup(guard: UrlGuard, lookup: Lookup): LookupFunction {
  return (hostname, options, callback) => {
    const answer = async (): Promise<{ address: string; family: number }[]> => {
      const addresses = await lookup(hostname)
      guard.checkAddresses(
        hostname,
        addresses.map(({ address }) => address),
      )
      return addresses
    }
    answer().then(
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

async function receiveImage(response: Dispatcher.ResponseData, maxImageBytes: number): Promise<ImageBytes> {
  try {
    checkAnswer(response, maxImageBytes)
  } catch (error) {
    discard(response)
    throw error
  }
  const collector = createByteCollector()
  // Leaving the loop destroys the body, and with it the connection.
  for await (const chunk of response.body) {
    collector.add(chunk)
    if (collector.byteLength() > maxImageBytes) throw imageTooLarge(maxImageBytes)
  }
  return asImage(collector.finish(), 'What the image URL leads to')
}

function checkAnswer({ statusCode, headers }: Dispatcher.ResponseData, maxImageBytes: number): void {
  if (statusCode !== 200) throw failed(`was answered with status ${statusCode}`)
  const encoding = onlyValue(headers['content-encoding']) ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') throw failed('was answered with an encoded body')
  if (Number(headers['content-length']) > maxImageBytes) throw imageTooLarge(maxImageBytes)
}

function onlyValue(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}

function discard({ body }: Dispatcher.ResponseData): void {
  // Without a listener the destruction of a body that is not read to its end is an uncaught error.
  body.on('error', () => {}).destroy()
}

function translate(error: unknown, signal: AbortSignal, timeoutMs: number): GatewayError {
  if (error instanceof GatewayError) return error
  if (signal.aborted) return failed(`was not answered in full within ${timeoutMs} ms`, error)
  return failed('could not be fetched: no connection, or a broken answer', error)
}

function failed(what: string, cause?: unknown): GatewayError {
  return new GatewayError('image_url_failed', `The image URL ${what}.`, { cause })
}
