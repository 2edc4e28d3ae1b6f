/** An image: its bytes, its id (`sha256:<64 hex digits>`), or an `http(s)` address that the gateway fetches. */
export type ImageInput = Blob | Uint8Array | ArrayBuffer | string

/** What is known of an image before the gateway is asked. */
export interface ImageSource {
  /** What may stand for it in a request: its id or its address. Absent where it is not known without sending the bytes. */
  name?: string
  bytes?: Blob
}

/** Remembers the ids of the images of one client, as long as somebody else holds these. */
export class ImageIds {
  readonly #ids = new WeakMap<object, string>()

  /** The image with its id, hashed here; where the runtime cannot hash (a page without https), its id is known once the gateway has told it. */
  async sourceOf(input: ImageInput, onHashing?: () => void): Promise<ImageSource> {
    if (typeof input === 'string') return { name: input }
    const bytes = input instanceof Blob ? input : new Blob([input as Uint8Array<ArrayBuffer>])
    const known = this.#ids.get(input)
    if (known !== undefined) return { name: known, bytes }
    const subtle = globalThis.crypto?.subtle
    if (!subtle) return { bytes }
    onHashing?.()
    const id = `sha256:${hex(await subtle.digest('SHA-256', await bytes.arrayBuffer()))}`
    this.#ids.set(input, id)
    return { name: id, bytes }
  }

  /** Takes down what the gateway calls an image. */
  learn(input: ImageInput, id: string | null): void {
    if (typeof input !== 'string' && id !== null) this.#ids.set(input, id)
  }
}

function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map(byte => byte.toString(16).padStart(2, '0')).join('')
}
